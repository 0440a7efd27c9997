#include "stream.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <linux/videodev2.h>
#include <sys/mman.h>

#include "pixels.h"

namespace camera {
namespace {

constexpr uint32_t wishedBuffers = 4;
constexpr uint32_t longestSide = 8192;
constexpr size_t largestPicture = 64u << 20;
// A larger jump is a driver's counter gone wrong, not so many lost pictures.
constexpr uint32_t mostDropped = 100000;
// A stamp outside of this before now is not of the monotonic clock, whatever its flag says.
constexpr uint64_t oldestStampUs = 10'000'000;

uint64_t nowUs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
}

uint32_t leastStride(uint32_t fourcc, uint32_t width) {
  switch (fourcc) {
    case pixels::YUYV: return (width + 1) / 2 * 4;
    case pixels::RGB3: return width * 3;
    case pixels::NV12: return (width + 1) / 2 * 2;
    default: return width;
  }
}

// Bytes of a raw picture with its lines' padding; 0 for MJPG.
size_t rawBytes(const Label& label) {
  const size_t luma = size_t{label.stride} * label.height;
  if (label.fourcc == pixels::MJPG) return 0;
  return label.fourcc == pixels::NV12 ? luma + size_t{label.stride} * ((label.height + 1) / 2)
                                      : luma;
}

bool fullRange(const v4l2_pix_format& format) {
  if (format.quantization != V4L2_QUANTIZATION_DEFAULT) {
    return format.quantization == V4L2_QUANTIZATION_FULL_RANGE;
  }
  return format.pixelformat == V4L2_PIX_FMT_GREY || format.colorspace == V4L2_COLORSPACE_JPEG;
}

}  // namespace

Error Stream::open(const std::string& source, const Wish& wish) {
  close();
  seam::Node node;
  Device device;
  Choice choice;
  if (Error error = locate(source, &node)) return error;
  if (Error error = openDevice(node, &device, &fd_)) return error;
  mode_ = Mode{device.stable(), node.path, device.card, device.driver, {}, 0, 0};
  Error error = choose(device, wish, &choice);
  if (!error) error = setFormat(choice);
  if (!error) setRate(choice, wish.fps);
  if (!error) error = mapBuffers();
  if (!error) error = start();
  if (error) close();
  return error;
}

Error Stream::setFormat(const Choice& choice) {
  v4l2_format format = {};
  format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  format.fmt.pix.pixelformat = choice.fourcc;
  format.fmt.pix.width = choice.width;
  format.fmt.pix.height = choice.height;
  format.fmt.pix.field = V4L2_FIELD_ANY;
  if (seam::ioctl(fd_, VIDIOC_S_FMT, &format) != 0) {
    return systemError("VIDIOC_S_FMT", errno, mode_.path, true);
  }
  const v4l2_pix_format& got = format.fmt.pix;
  const bool jpeg = got.pixelformat == V4L2_PIX_FMT_JPEG;
  Label& label = mode_.label;
  label.fourcc = jpeg ? pixels::MJPG : got.pixelformat;
  label.width = got.width;
  label.height = got.height;
  label.full = fullRange(got);
  label.stride = label.fourcc == pixels::MJPG
                     ? 0
                     : std::max(got.bytesperline, leastStride(label.fourcc, got.width));
  const size_t raw = rawBytes(label);
  mode_.pictureBytes = raw ? raw : got.sizeimage;
  if (got.pixelformat != choice.fourcc || got.width == 0 || got.height == 0 ||
      got.width > longestSide || got.height > longestSide || label.stride > 8 * longestSide ||
      mode_.pictureBytes > largestPicture) {
    Error error;
    error.kind = Kind::refused;
    error.call = "VIDIOC_S_FMT";
    error.message = mode_.path + " answered " + fourccName(got.pixelformat) + " " +
                    std::to_string(got.width) + "x" + std::to_string(got.height) + " to " +
                    fourccName(choice.fourcc) + " " + std::to_string(choice.width) + "x" +
                    std::to_string(choice.height);
    return error;
  }
  return {};
}

// Rates are a favour: drivers without them, and libcamera's layer, answer ENOTTY.
void Stream::setRate(const Choice& choice, double wished) {
  Interval interval = choice.interval;
  if (interval.denominator && (mode_.label.width != choice.width || !choice.interval.numerator)) {
    interval = {};
  }
  Size exact;
  listIntervals(fd_, choice.fourcc, mode_.label.width, mode_.label.height, &exact);
  if (!exact.intervals.empty()) interval = chooseInterval(exact, wished);
  mode_.fps = interval.fps();
  v4l2_streamparm parameters = {};
  parameters.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  if (interval.denominator) {
    parameters.parm.capture.timeperframe = {interval.numerator, interval.denominator};
    if (seam::ioctl(fd_, VIDIOC_S_PARM, &parameters) != 0) mode_.fps = 0;
  } else if (seam::ioctl(fd_, VIDIOC_G_PARM, &parameters) != 0) {
    return;
  }
  const v4l2_fract& got = parameters.parm.capture.timeperframe;
  if (got.numerator && got.denominator) mode_.fps = double(got.denominator) / got.numerator;
}

Error Stream::mapBuffers() {
  v4l2_requestbuffers request = {};
  request.count = wishedBuffers;
  request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  request.memory = V4L2_MEMORY_MMAP;
  if (seam::ioctl(fd_, VIDIOC_REQBUFS, &request) != 0) {
    return systemError("VIDIOC_REQBUFS", errno, mode_.path, true);
  }
  requested_ = true;
  if (request.count == 0) return systemError("VIDIOC_REQBUFS", ENOMEM, mode_.path, true);
  for (uint32_t index = 0; index < request.count; index++) {
    v4l2_buffer buffer = {};
    buffer.index = index;
    buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffer.memory = V4L2_MEMORY_MMAP;
    if (seam::ioctl(fd_, VIDIOC_QUERYBUF, &buffer) != 0) {
      return systemError("VIDIOC_QUERYBUF", errno, mode_.path, true);
    }
    void* start = seam::map(fd_, buffer.length, buffer.m.offset);
    if (start == MAP_FAILED) return systemError("mmap", errno, mode_.path, true);
    buffers_.push_back({start, buffer.length});
  }
  return {};
}

Error Stream::start() {
  for (uint32_t index = 0; index < buffers_.size(); index++) {
    if (!queue(index)) return systemError("VIDIOC_QBUF", errno, mode_.path, true);
  }
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  if (seam::ioctl(fd_, VIDIOC_STREAMON, &type) != 0) {
    return systemError("VIDIOC_STREAMON", errno, mode_.path, true);
  }
  streaming_ = true;
  return {};
}

bool Stream::queue(uint32_t index) {
  v4l2_buffer buffer = {};
  buffer.index = index;
  buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  buffer.memory = V4L2_MEMORY_MMAP;
  return seam::ioctl(fd_, VIDIOC_QBUF, &buffer) == 0;
}

void Stream::close() {
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  if (streaming_) seam::ioctl(fd_, VIDIOC_STREAMOFF, &type);
  for (const Buffer& buffer : buffers_) seam::unmap(buffer.start, buffer.length);
  buffers_.clear();
  if (requested_) {
    v4l2_requestbuffers none = {};
    none.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    none.memory = V4L2_MEMORY_MMAP;
    seam::ioctl(fd_, VIDIOC_REQBUFS, &none);
  }
  if (fd_ != -1) seam::close(fd_);
  fd_ = -1;
  requested_ = streaming_ = seen_ = false;
  lastSequence_ = lost_ = 0;
  lastUs_ = 0;
}

Took Stream::take(Slab& slab, size_t slack, Taken* out, Error* error) {
  v4l2_buffer buffer = {};
  buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  buffer.memory = V4L2_MEMORY_MMAP;
  if (seam::ioctl(fd_, VIDIOC_DQBUF, &buffer) != 0) {
    if (errno == EAGAIN) return Took::nothing;
    *error = systemError("VIDIOC_DQBUF", errno, mode_.path, true);
    return Took::ended;
  }
  if (buffer.index >= buffers_.size()) {
    *error = systemError("VIDIOC_DQBUF", EPROTO, mode_.path, true);
    return Took::ended;
  }
  const uint64_t driverUs =
      uint64_t(buffer.timestamp.tv_sec) * 1'000'000 + uint64_t(buffer.timestamp.tv_usec);
  *out = Taken{};
  out->corrupt = buffer.flags & V4L2_BUF_FLAG_ERROR;
  out->sequence = buffer.sequence;
  out->capturedUs = stampOf(buffer.flags, driverUs);
  const Buffer& source = buffers_[buffer.index];
  out->length = pictureLength(source, buffer.bytesused, &out->corrupt);
  out->handle = slab.take(out->length + slack, mode_.label);
  if (out->handle) {
    Slab::View view;
    slab.view(out->handle, &view);
    std::memcpy(view.data, source.start, out->length);
    const Label& label = mode_.label;
    if (!out->corrupt && pixels::check({view.data, out->length, label.fourcc, label.width,
                                        label.height, label.stride, label.full}) !=
                             pixels::Status::ok) {
      out->corrupt = true;
    }
  }
  const uint32_t missed = countDropped(buffer.sequence);
  // Twice: vivid and some webcams refuse one time and then go on.
  if (!queue(buffer.index) && !queue(buffer.index)) {
    *error = systemError("VIDIOC_QBUF", errno, mode_.path, true);
    slab.erase(out->handle);
    return Took::ended;
  }
  lost_ += missed;
  if (!out->handle) {
    lost_++;
    return Took::lost;
  }
  out->dropped = lost_;
  lost_ = 0;
  return Took::picture;
}

// How many bytes of a buffer are the picture, and whether that can be.
size_t Stream::pictureLength(const Buffer& buffer, size_t bytesUsed, bool* corrupt) const {
  const size_t raw = rawBytes(mode_.label);
  if (bytesUsed == 0 || bytesUsed > buffer.length) *corrupt = true;
  size_t length = std::min(bytesUsed, buffer.length);
  if (raw > 0) {
    // Some drivers round up to whole pages; nothing else may differ.
    if (length < raw || length - raw >= 65536) *corrupt = true;
    return std::min(length, raw);
  }
  // Some cameras pad each JPEG with zeros up to a fixed length.
  const auto* bytes = static_cast<const uint8_t*>(buffer.start);
  while (length > 0 && bytes[length - 1] == 0) length--;
  return length;
}

// The driver's stamp where it is one of CLOCK_MONOTONIC, else the present; never backwards.
uint64_t Stream::stampOf(uint32_t flags, uint64_t driverUs) {
  const uint64_t now = nowUs();
  // v4l2loopback and older drivers do not name their clock; a stamp just past is of this one.
  const bool foreign = (flags & V4L2_BUF_FLAG_TIMESTAMP_MASK) == V4L2_BUF_FLAG_TIMESTAMP_COPY;
  uint64_t us = !foreign && driverUs <= now && driverUs + oldestStampUs > now ? driverUs : now;
  if (us <= lastUs_) us = lastUs_ + 1;
  lastUs_ = us;
  return us;
}

uint32_t Stream::countDropped(uint32_t sequence) {
  const uint32_t gap = seen_ ? sequence - lastSequence_ - 1 : 0;
  seen_ = true;
  lastSequence_ = sequence;
  return gap < mostDropped ? gap : 0;
}

}  // namespace camera
