// What the fake driver answers to each ioctl.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <linux/videodev2.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake.h"

namespace camera::fake {
namespace {

constexpr size_t page = 4096;

template <size_t length>
void setText(uint8_t (&out)[length], const std::string& text) {
  std::memcpy(out, text.data(), std::min(length - 1, text.size()));
}

const Format* formatOf(const Camera& camera, uint32_t fourcc) {
  for (const Format& format : camera.device.formats) {
    if (format.fourcc == fourcc) return &format;
  }
  return nullptr;
}

const Size* sizeOf(const Format& format, uint32_t width, uint32_t height) {
  for (const Size& size : format.sizes) {
    if (!size.stepwise && size.width == width && size.height == height) return &size;
    if (size.stepwise && width >= size.leastWidth && width <= size.width &&
        height >= size.leastHeight && height <= size.height &&
        (width - size.leastWidth) % size.stepWidth == 0 &&
        (height - size.leastHeight) % size.stepHeight == 0) {
      return &size;
    }
  }
  return nullptr;
}

[[noreturn]] void endProcess(const char* why) {
  fprintf(stderr, "fake libcamera: %s\n", why);
  abort();
}

int enumSizes(Camera& camera, v4l2_frmsizeenum* entry) {
  const Format* format = formatOf(camera, entry->pixel_format);
  if (!format || entry->index >= format->sizes.size()) return EINVAL;
  const Size& size = format->sizes[entry->index];
  if (!size.stepwise) {
    entry->type = V4L2_FRMSIZE_TYPE_DISCRETE;
    entry->discrete = {size.width, size.height};
  } else {
    entry->type = V4L2_FRMSIZE_TYPE_STEPWISE;
    entry->stepwise = {size.leastWidth,  size.width,  size.stepWidth,
                       size.leastHeight, size.height, size.stepHeight};
  }
  return 0;
}

int enumIntervals(Camera& camera, v4l2_frmivalenum* entry) {
  const Format* format = formatOf(camera, entry->pixel_format);
  const Size* size = format ? sizeOf(*format, entry->width, entry->height) : nullptr;
  if (!size || entry->index >= (size->rateStepwise ? 1 : size->intervals.size())) return EINVAL;
  if (!size->rateStepwise) {
    entry->type = V4L2_FRMIVAL_TYPE_DISCRETE;
    entry->discrete = {size->intervals[entry->index].numerator,
                       size->intervals[entry->index].denominator};
  } else {
    entry->type = V4L2_FRMIVAL_TYPE_STEPWISE;
    entry->stepwise.min = {size->intervals[0].numerator, size->intervals[0].denominator};
    entry->stepwise.max = {size->intervals[1].numerator, size->intervals[1].denominator};
    entry->stepwise.step = {1, 1};
  }
  return 0;
}

int setFormat(Camera& camera, int fd, v4l2_pix_format* pix) {
  if (camera.owner != -1 && (camera.owner != fd || camera.streaming)) return EBUSY;
  const Format* format = formatOf(camera, pix->pixelformat);
  const Size* size = format ? sizeOf(*format, pix->width, pix->height) : nullptr;
  if (camera.personality == Personality::libcamera && (!format || !size)) {
    endProcess("a format that was never listed");
  }
  if (!format && !camera.device.formats.empty()) format = &camera.device.formats[0];
  if (!format) return EINVAL;
  if (!size && !format->sizes.empty()) {
    pix->width = format->sizes[0].width;
    pix->height = format->sizes[0].height;
  }
  pix->pixelformat = camera.behaviour.answerFourcc ? camera.behaviour.answerFourcc : format->fourcc;
  const uint32_t area = pix->width * pix->height;
  switch (pix->pixelformat) {
    case V4L2_PIX_FMT_YUYV: pix->bytesperline = pix->width * 2; break;
    case V4L2_PIX_FMT_RGB24: pix->bytesperline = pix->width * 3; break;
    case V4L2_PIX_FMT_NV12:
    case V4L2_PIX_FMT_GREY: pix->bytesperline = pix->width; break;
    default: pix->bytesperline = 0;
  }
  pix->sizeimage = pix->pixelformat == V4L2_PIX_FMT_NV12 ? area * 3 / 2
                   : pix->bytesperline                   ? pix->bytesperline * pix->height
                                                         : area * 2;
  pix->field = V4L2_FIELD_NONE;
  pix->quantization = camera.behaviour.quantization;
  camera.fourcc = pix->pixelformat;
  camera.width = pix->width;
  camera.height = pix->height;
  camera.sizeimage = pix->sizeimage;
  return 0;
}

int requestBuffers(Camera& camera, int fd, v4l2_requestbuffers* request) {
  if (camera.owner != -1 && camera.owner != fd) return EBUSY;
  if (request->memory != V4L2_MEMORY_MMAP || camera.sizeimage == 0) return EINVAL;
  release(camera);
  if (request->count == 0) return 0;
  request->count = std::min(request->count, camera.wishedBuffers);
  const size_t each = (camera.sizeimage + page - 1) / page * page;
  camera.memory = memfd_create("fake-camera", MFD_CLOEXEC);
  if (camera.memory == -1 || ftruncate(camera.memory, each * request->count) != 0) return ENOMEM;
  camera.base = static_cast<uint8_t*>(::mmap(nullptr, each * request->count,
                                             PROT_READ | PROT_WRITE, MAP_SHARED, camera.memory, 0));
  camera.buffers.resize(request->count);
  for (uint32_t index = 0; index < request->count; index++) camera.buffers[index].offset = index * each;
  camera.owner = fd;
  camera.nextIndex = 0;
  return 0;
}

int queueBuffer(Camera& camera, int fd, v4l2_buffer* buffer) {
  if (camera.owner != fd || buffer->index >= camera.buffers.size()) return EINVAL;
  Buffer& entry = camera.buffers[buffer->index];
  if (entry.queued) return EINVAL;
  if (camera.personality == Personality::libcamera) {
    if (buffer->index != camera.nextIndex) endProcess("a buffer out of its order");
    camera.nextIndex = (camera.nextIndex + 1) % static_cast<uint32_t>(camera.buffers.size());
  }
  entry.queued = true;
  camera.queued.push_back(buffer->index);
  refill(camera);
  return 0;
}

int dequeueBuffer(Camera& camera, int fd, v4l2_buffer* buffer) {
  if (camera.owner != fd || !camera.streaming) return EINVAL;
  if (camera.done.empty()) return EAGAIN;
  const uint32_t index = camera.done.front();
  camera.done.pop_front();
  char byte;
  (void)!::read(fd, &byte, 1);
  Buffer& entry = camera.buffers[index];
  entry.queued = false;
  buffer->index = entry.claimed >= 0 ? static_cast<uint32_t>(entry.claimed) : index;
  buffer->bytesused = entry.bytesUsed;
  buffer->flags = entry.flags;
  buffer->sequence = entry.sequence;
  buffer->timestamp.tv_sec = static_cast<time_t>(entry.stampUs / 1'000'000);
  buffer->timestamp.tv_usec = static_cast<suseconds_t>(entry.stampUs % 1'000'000);
  return 0;
}

struct Call {
  unsigned long request;
  const char* name;
};
constexpr Call calls[] = {
    {VIDIOC_QUERYCAP, "VIDIOC_QUERYCAP"},
    {VIDIOC_ENUM_FMT, "VIDIOC_ENUM_FMT"},
    {VIDIOC_ENUM_FRAMESIZES, "VIDIOC_ENUM_FRAMESIZES"},
    {VIDIOC_ENUM_FRAMEINTERVALS, "VIDIOC_ENUM_FRAMEINTERVALS"},
    {VIDIOC_S_FMT, "VIDIOC_S_FMT"},
    {VIDIOC_S_PARM, "VIDIOC_S_PARM"},
    {VIDIOC_G_PARM, "VIDIOC_G_PARM"},
    {VIDIOC_REQBUFS, "VIDIOC_REQBUFS"},
    {VIDIOC_QUERYBUF, "VIDIOC_QUERYBUF"},
    {VIDIOC_QBUF, "VIDIOC_QBUF"},
    {VIDIOC_DQBUF, "VIDIOC_DQBUF"},
    {VIDIOC_STREAMON, "VIDIOC_STREAMON"},
    {VIDIOC_STREAMOFF, "VIDIOC_STREAMOFF"},
    {VIDIOC_QUERY_EXT_CTRL, "VIDIOC_QUERY_EXT_CTRL"},
    {VIDIOC_QUERYMENU, "VIDIOC_QUERYMENU"},
    {VIDIOC_G_CTRL, "VIDIOC_G_CTRL"},
    {VIDIOC_S_CTRL, "VIDIOC_S_CTRL"},
};

}  // namespace

int answer(Camera& camera, int fd, unsigned long request, void* argument) {
  const auto* call = std::find_if(std::begin(calls), std::end(calls),
                                  [&](const Call& each) { return each.request == request; });
  if (call == std::end(calls)) return ENOTTY;
  if (const int code = failing(camera, call->name)) return code;
  if (!camera.plugged) return ENODEV;
  const bool libcamera = camera.personality == Personality::libcamera;
  switch (request) {
    case VIDIOC_QUERYCAP: {
      auto* capability = static_cast<v4l2_capability*>(argument);
      setText(capability->driver, camera.device.driver);
      setText(capability->card, camera.device.card);
      setText(capability->bus_info, camera.device.bus);
      capability->device_caps = camera.capabilities;
      capability->capabilities = camera.capabilities | V4L2_CAP_DEVICE_CAPS;
      return 0;
    }
    case VIDIOC_ENUM_FMT: {
      auto* entry = static_cast<v4l2_fmtdesc*>(argument);
      if (entry->index >= camera.device.formats.size()) return EINVAL;
      entry->pixelformat = camera.device.formats[entry->index].fourcc;
      setText(entry->description, camera.device.formats[entry->index].description);
      return 0;
    }
    case VIDIOC_ENUM_FRAMESIZES:
      return enumSizes(camera, static_cast<v4l2_frmsizeenum*>(argument));
    case VIDIOC_ENUM_FRAMEINTERVALS:
      if (libcamera) return ENOTTY;
      return enumIntervals(camera, static_cast<v4l2_frmivalenum*>(argument));
    case VIDIOC_S_FMT: return setFormat(camera, fd, &static_cast<v4l2_format*>(argument)->fmt.pix);
    case VIDIOC_S_PARM:
    case VIDIOC_G_PARM: {
      if (libcamera) return ENOTTY;
      auto& frame = static_cast<v4l2_streamparm*>(argument)->parm.capture.timeperframe;
      if (request == VIDIOC_S_PARM) camera.interval = {frame.numerator, frame.denominator};
      frame = {camera.interval.numerator, camera.interval.denominator};
      return 0;
    }
    case VIDIOC_REQBUFS: return requestBuffers(camera, fd, static_cast<v4l2_requestbuffers*>(argument));
    case VIDIOC_QUERYBUF: {
      auto* buffer = static_cast<v4l2_buffer*>(argument);
      if (buffer->index >= camera.buffers.size()) return EINVAL;
      buffer->length = camera.sizeimage;
      buffer->m.offset = static_cast<uint32_t>(camera.buffers[buffer->index].offset);
      return 0;
    }
    case VIDIOC_QBUF: return queueBuffer(camera, fd, static_cast<v4l2_buffer*>(argument));
    case VIDIOC_DQBUF: return dequeueBuffer(camera, fd, static_cast<v4l2_buffer*>(argument));
    case VIDIOC_STREAMON:
      if (camera.owner != fd || camera.buffers.empty()) return EINVAL;
      camera.streaming = true;
      camera.sequence = 0;
      camera.due = std::chrono::steady_clock::now();
      refill(camera);
      return 0;
    case VIDIOC_STREAMOFF:
      camera.streaming = false;
      camera.done.clear();
      return 0;
    default: break;
  }
  return libcamera ? ENOTTY : answerControl(camera, request, argument);
}

}  // namespace camera::fake
