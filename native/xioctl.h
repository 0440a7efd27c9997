// The seam to the system. xioctl.cc is the real one; the fake driver (fake.cc) defines the same
// functions, so that everything above can be tested in each state of a driver.
//
// libc's functions only, never syscall(2): libcamerify works by replacing them.
#pragma once
#include <cstddef>
#include <string>
#include <sys/types.h>
#include <vector>

namespace camera::seam {

// A video node and the links under /dev/v4l that lead to it (empty when there is none).
struct Node {
  std::string path;    // /dev/video0
  std::string byId;    // /dev/v4l/by-id/…: the same camera in any socket
  std::string byPath;  // /dev/v4l/by-path/…: any camera in the same socket
};

// All video nodes in the order of their numbers.
std::vector<Node> nodes();

// What `path` leads to when links are followed; empty when it leads nowhere.
std::string resolve(const std::string& path);

int open(const std::string& path, int flags);  // -1 and errno
int close(int fd);
int ioctl(int fd, unsigned long request, void* argument);  // repeated while EINTR
void* map(int fd, size_t length, off_t offset);            // shared, for reading; MAP_FAILED and errno
int unmap(void* address, size_t length);

}  // namespace camera::seam
