#include "reader.h"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <sys/mman.h>
#include <vector>

#include "xioctl.h"

namespace camera {
namespace {

double threadUs() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) * 1e6 + double(now.tv_nsec) / 1e3;
}

v4l2_buffer bufferOf(uint32_t index) {
  v4l2_buffer buffer = {};
  buffer.index = index;
  buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  buffer.memory = V4L2_MEMORY_MMAP;
  return buffer;
}

}  // namespace

Error readBare(const std::string& path, Reading* reading) {
  const int fd = seam::open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd == -1) return systemError("open", errno, path, false);
  std::vector<std::pair<void*, size_t>> maps;
  const auto leave = [&](const char* call, int code) {
    for (const auto& [start, length] : maps) seam::unmap(start, length);
    seam::close(fd);
    return code ? systemError(call, code, path, true) : Error{};
  };
  v4l2_format format = {};
  format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  format.fmt.pix.pixelformat = reading->fourcc;
  format.fmt.pix.width = reading->width;
  format.fmt.pix.height = reading->height;
  if (seam::ioctl(fd, VIDIOC_S_FMT, &format) != 0) return leave("VIDIOC_S_FMT", errno);
  v4l2_requestbuffers request = {};
  request.count = 4;
  request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  request.memory = V4L2_MEMORY_MMAP;
  if (seam::ioctl(fd, VIDIOC_REQBUFS, &request) != 0) return leave("VIDIOC_REQBUFS", errno);
  for (uint32_t index = 0; index < request.count; index++) {
    v4l2_buffer buffer = bufferOf(index);
    if (seam::ioctl(fd, VIDIOC_QUERYBUF, &buffer) != 0) return leave("VIDIOC_QUERYBUF", errno);
    void* start = seam::map(fd, buffer.length, buffer.m.offset);
    if (start == MAP_FAILED) return leave("mmap", errno);
    maps.emplace_back(start, buffer.length);
    if (seam::ioctl(fd, VIDIOC_QBUF, &buffer) != 0) return leave("VIDIOC_QBUF", errno);
  }
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  if (seam::ioctl(fd, VIDIOC_STREAMON, &type) != 0) return leave("VIDIOC_STREAMON", errno);
  // As many places as a slab would have, so that the copies go through as much memory.
  std::vector<uint8_t> target(size_t{8} * format.fmt.pix.sizeimage);
  const double startUs = threadUs();
  for (uint32_t count = 0; count < reading->pictures;) {
    pollfd wait = {fd, POLLIN, 0};
    if (::poll(&wait, 1, 1000) <= 0) return leave("poll", ETIMEDOUT);
    v4l2_buffer buffer = bufferOf(0);
    if (seam::ioctl(fd, VIDIOC_DQBUF, &buffer) != 0) {
      if (errno == EAGAIN) continue;
      return leave("VIDIOC_DQBUF", errno);
    }
    std::memcpy(target.data() + count % 8 * format.fmt.pix.sizeimage, maps[buffer.index].first,
                buffer.bytesused);
    reading->bytes += buffer.bytesused;
    count++;
    if (seam::ioctl(fd, VIDIOC_QBUF, &buffer) != 0) return leave("VIDIOC_QBUF", errno);
  }
  reading->cpuUs = threadUs() - startUs;
  return leave("", 0);
}

}  // namespace camera
