#include "xioctl.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace camera::seam {
namespace {

std::vector<std::string> listing(const char* folder) {
  std::vector<std::string> names;
  DIR* directory = opendir(folder);
  if (!directory) return names;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

// The first link of `folder` that leads to `path`. A camera with several nodes has one link for
// each ("…-video-index0", "…-video-index1"), so that a link belongs to one node only.
std::string linkTo(const char* folder, const std::string& path) {
  for (const std::string& name : listing(folder)) {
    const std::string link = std::string(folder) + "/" + name;
    if (resolve(link) == path) return link;
  }
  return "";
}

}  // namespace

std::string resolve(const std::string& path) {
  char whole[PATH_MAX];
  return realpath(path.c_str(), whole) ? whole : "";
}

std::vector<Node> nodes() {
  std::vector<std::pair<long, std::string>> found;
  for (const std::string& name : listing("/dev")) {
    if (name.compare(0, 5, "video") != 0 || name.size() == 5) continue;
    char* end = nullptr;
    const long number = strtol(name.c_str() + 5, &end, 10);
    if (*end == '\0') found.emplace_back(number, "/dev/" + name);
  }
  std::sort(found.begin(), found.end());
  std::vector<Node> nodes;
  for (const auto& [number, path] : found) {
    nodes.push_back({path, linkTo("/dev/v4l/by-id", path), linkTo("/dev/v4l/by-path", path)});
  }
  return nodes;
}

int open(const std::string& path, int flags) { return ::open(path.c_str(), flags); }

int close(int fd) { return ::close(fd); }

int ioctl(int fd, unsigned long request, void* argument) {
  int result;
  do {
    result = ::ioctl(fd, request, argument);
  } while (result == -1 && errno == EINTR);
  return result;
}

void* map(int fd, size_t length, off_t offset) {
  return ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, offset);
}

int unmap(void* address, size_t length) { return ::munmap(address, length); }

}  // namespace camera::seam
