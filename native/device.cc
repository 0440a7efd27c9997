#include "device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/videodev2.h>

#ifndef V4L2_CAP_IO_MC
#define V4L2_CAP_IO_MC 0x20000000
#endif

namespace camera {
namespace {

// A driver that never ends an enumeration must not hang the service.
constexpr uint32_t mostEntries = 256;

constexpr uint32_t bayer[] = {
    V4L2_PIX_FMT_SBGGR8, V4L2_PIX_FMT_SGBRG8, V4L2_PIX_FMT_SGRBG8, V4L2_PIX_FMT_SRGGB8,
    V4L2_PIX_FMT_SBGGR10, V4L2_PIX_FMT_SGBRG10, V4L2_PIX_FMT_SGRBG10, V4L2_PIX_FMT_SRGGB10,
    V4L2_PIX_FMT_SBGGR10P, V4L2_PIX_FMT_SGBRG10P, V4L2_PIX_FMT_SGRBG10P, V4L2_PIX_FMT_SRGGB10P,
    V4L2_PIX_FMT_SBGGR12, V4L2_PIX_FMT_SGBRG12, V4L2_PIX_FMT_SGRBG12, V4L2_PIX_FMT_SRGGB12,
    V4L2_PIX_FMT_SBGGR12P, V4L2_PIX_FMT_SGBRG12P, V4L2_PIX_FMT_SGRBG12P, V4L2_PIX_FMT_SRGGB12P,
    V4L2_PIX_FMT_SBGGR14, V4L2_PIX_FMT_SGBRG14, V4L2_PIX_FMT_SGRBG14, V4L2_PIX_FMT_SRGGB14,
    V4L2_PIX_FMT_SBGGR14P, V4L2_PIX_FMT_SGBRG14P, V4L2_PIX_FMT_SGRBG14P, V4L2_PIX_FMT_SRGGB14P,
    V4L2_PIX_FMT_SBGGR16, V4L2_PIX_FMT_SGBRG16, V4L2_PIX_FMT_SGRBG16, V4L2_PIX_FMT_SRGGB16,
};

bool isBayer(uint32_t fourcc) {
  return std::find(std::begin(bayer), std::end(bayer), fourcc) != std::end(bayer);
}

template <size_t length>
std::string text(const uint8_t (&bytes)[length]) {
  const char* start = reinterpret_cast<const char*>(bytes);
  return std::string(start, strnlen(start, length));
}

std::vector<Size> listSizes(int fd, uint32_t fourcc) {
  std::vector<Size> sizes;
  for (uint32_t index = 0; index < mostEntries; index++) {
    v4l2_frmsizeenum entry = {};
    entry.index = index;
    entry.pixel_format = fourcc;
    if (seam::ioctl(fd, VIDIOC_ENUM_FRAMESIZES, &entry) != 0) break;
    Size size;
    if (entry.type == V4L2_FRMSIZE_TYPE_DISCRETE) {
      size.width = entry.discrete.width;
      size.height = entry.discrete.height;
    } else {
      size.stepwise = true;
      size.width = entry.stepwise.max_width;
      size.height = entry.stepwise.max_height;
      size.leastWidth = entry.stepwise.min_width;
      size.leastHeight = entry.stepwise.min_height;
      size.stepWidth = std::max(1u, entry.stepwise.step_width);
      size.stepHeight = std::max(1u, entry.stepwise.step_height);
    }
    if (size.width == 0 || size.height == 0) continue;
    listIntervals(fd, fourcc, size.width, size.height, &size);
    sizes.push_back(size);
    if (size.stepwise) break;
  }
  return sizes;
}

std::vector<Format> listFormats(int fd) {
  std::vector<Format> formats;
  for (uint32_t index = 0; index < mostEntries; index++) {
    v4l2_fmtdesc entry = {};
    entry.index = index;
    entry.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    if (seam::ioctl(fd, VIDIOC_ENUM_FMT, &entry) != 0) break;
    Format format{entry.pixelformat, text(entry.description), {}};
    if (isUsable(format.fourcc)) format.sizes = listSizes(fd, format.fourcc);
    formats.push_back(std::move(format));
  }
  return formats;
}

Error refuse(std::string message, std::string hint) {
  Error error;
  error.kind = Kind::refused;
  error.message = std::move(message);
  error.hint = std::move(hint);
  return error;
}

Error rawSensor(const Device& device) {
  return refuse(device.node.path + " is a raw sensor (" + device.card +
                    "): it delivers Bayer data that only libcamera can turn into a picture",
                "install libcamera's V4L2 layer (sudo apt install libcamera-tools libcamera-v4l2) "
                "and start through it: libcamerify obscura-camera …");
}

Error judge(const Device& device, uint32_t capabilities) {
  const std::string& path = device.node.path;
  if (!(capabilities & V4L2_CAP_VIDEO_CAPTURE)) {
    if (capabilities & V4L2_CAP_VIDEO_CAPTURE_MPLANE) {
      return refuse(path + " (" + device.card + ") has the multi-planar interface only",
                    "such devices are parts of a camera pipeline: use the camera's own node, or "
                    "libcamerify obscura-camera …");
    }
    return refuse(path + " (" + device.card + ") is not a capture device",
                  "it is the output, metadata or codec node of something: choose another node");
  }
  if (!(capabilities & V4L2_CAP_STREAMING)) {
    return refuse(path + " (" + device.card + ") cannot stream into mapped buffers", "");
  }
  // Such a node lists whatever its receiver could store, not what its sensor delivers.
  if (capabilities & V4L2_CAP_IO_MC) return rawSensor(device);
  std::string names;
  bool raw = false;
  for (const Format& format : device.formats) {
    if (isUsable(format.fourcc)) return {};
    raw = raw || isBayer(format.fourcc);
    names += (names.empty() ? "" : ", ") + fourccName(format.fourcc);
  }
  if (raw) return rawSensor(device);
  return refuse(path + " (" + device.card + ") offers none of MJPG, YUYV, NV12, RGB3, GREY, only " +
                    (names.empty() ? "nothing at all" : names),
                "");
}

}  // namespace

const std::string& Device::stable() const {
  if (!node.byId.empty()) return node.byId;
  return node.byPath.empty() ? node.path : node.byPath;
}

bool isUsable(uint32_t fourcc) {
  return fourcc == V4L2_PIX_FMT_MJPEG || fourcc == V4L2_PIX_FMT_JPEG ||
         fourcc == V4L2_PIX_FMT_YUYV || fourcc == V4L2_PIX_FMT_NV12 ||
         fourcc == V4L2_PIX_FMT_RGB24 || fourcc == V4L2_PIX_FMT_GREY;
}

std::string fourccName(uint32_t fourcc) {
  std::string name;
  for (int shift = 0; shift < 32; shift += 8) {
    const char letter = static_cast<char>(fourcc >> shift & 0x7f);
    name += letter >= ' ' && letter < 0x7f ? letter : '?';
  }
  return name;
}

void listIntervals(int fd, uint32_t fourcc, uint32_t width, uint32_t height, Size* size) {
  size->intervals.clear();
  size->rateStepwise = false;
  for (uint32_t index = 0; index < mostEntries; index++) {
    v4l2_frmivalenum entry = {};
    entry.index = index;
    entry.pixel_format = fourcc;
    entry.width = width;
    entry.height = height;
    if (seam::ioctl(fd, VIDIOC_ENUM_FRAMEINTERVALS, &entry) != 0) return;
    if (entry.type == V4L2_FRMIVAL_TYPE_DISCRETE) {
      if (entry.discrete.numerator && entry.discrete.denominator) {
        size->intervals.push_back({entry.discrete.numerator, entry.discrete.denominator});
      }
      continue;
    }
    size->rateStepwise = true;
    size->intervals = {{entry.stepwise.min.numerator, entry.stepwise.min.denominator},
                       {entry.stepwise.max.numerator, entry.stepwise.max.denominator}};
    return;
  }
}

Error openDevice(const seam::Node& node, Device* out, int* fd) {
  out->node = node;
  // libcamera's layer waits inside DQBUF unless the device was opened so.
  const int opened = seam::open(node.path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (opened == -1) return systemError("open", errno, node.path, false);
  v4l2_capability capability = {};
  if (seam::ioctl(opened, VIDIOC_QUERYCAP, &capability) != 0) {
    const Error error = errno == ENOTTY
                            ? refuse(node.path + " is not a video device", "")
                            : systemError("VIDIOC_QUERYCAP", errno, node.path, false);
    seam::close(opened);
    return error;
  }
  out->card = text(capability.card);
  out->driver = text(capability.driver);
  out->bus = text(capability.bus_info);
  const uint32_t capabilities = capability.capabilities & V4L2_CAP_DEVICE_CAPS
                                    ? capability.device_caps
                                    : capability.capabilities;
  out->captures = capabilities & V4L2_CAP_VIDEO_CAPTURE;
  if (out->captures) out->formats = listFormats(opened);
  const Error error = judge(*out, capabilities);
  if (error) {
    seam::close(opened);
    return error;
  }
  *fd = opened;
  return {};
}

std::vector<Device> listDevices() {
  std::vector<Device> devices;
  for (const seam::Node& node : seam::nodes()) {
    Device device;
    int fd = -1;
    device.unusable = openDevice(node, &device, &fd);
    if (fd != -1) seam::close(fd);
    devices.push_back(std::move(device));
  }
  return devices;
}

Error locate(const std::string& source, seam::Node* out) {
  const std::string path = seam::resolve(source);
  for (const seam::Node& node : seam::nodes()) {
    if (node.path == path) {
      *out = node;
      return {};
    }
  }
  Error error = systemError("open", path.empty() ? ENOENT : ENODEV, source, false);
  if (!path.empty()) {
    error.kind = Kind::refused;
    error.message = source + " is not a video device";
  }
  return error;
}

}  // namespace camera
