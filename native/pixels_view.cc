#include "pixels_view.h"

#include <cstdlib>

namespace pixels {

Buffer::~Buffer() { free(data_); }

bool Buffer::reserve(size_t bytes) {
  if (bytes <= bytes_) return true;
  free(data_);
  data_ = malloc(bytes);
  bytes_ = data_ ? bytes : 0;
  return data_ != nullptr;
}

bool axesOf(Turn turn, Axes* axes) {
  switch (turn.rotate) {
    case 0: *axes = {false, turn.flip, false}; return true;
    case 90: *axes = {true, false, !turn.flip}; return true;
    case 180: *axes = {false, !turn.flip, true}; return true;
    case 270: *axes = {true, true, turn.flip}; return true;
    default: return false;
  }
}

Box toStored(Box box, const Axes& axes, uint32_t storedWidth, uint32_t storedHeight) {
  if (axes.swap) box = {box.y, box.x, box.height, box.width};
  if (axes.reverseX) box.x = static_cast<int>(storedWidth) - box.x - box.width;
  if (axes.reverseY) box.y = static_cast<int>(storedHeight) - box.y - box.height;
  return box;
}

Walk walkOf(const Axes& axes, uint32_t width, uint32_t height, ptrdiff_t uprightStride) {
  Walk walk = {0, axes.swap ? uprightStride : 1, axes.swap ? 1 : uprightStride};
  if (axes.reverseX) {
    walk.start += walk.dx * (static_cast<ptrdiff_t>(width) - 1);
    walk.dx = -walk.dx;
  }
  if (axes.reverseY) {
    walk.start += walk.dy * (static_cast<ptrdiff_t>(height) - 1);
    walk.dy = -walk.dy;
  }
  return walk;
}

size_t lineBytes(uint32_t fourcc, uint32_t width) {
  switch (fourcc) {
    case YUYV: return (size_t{width} + 1) / 2 * 4;
    case NV12: return (size_t{width} + 1) / 2 * 2;
    case RGB3: return size_t{width} * 3;
    case GREY: return width;
    default: return 0;
  }
}

static size_t strideOf(const Picture& picture) {
  return picture.stride ? picture.stride : lineBytes(picture.fourcc, picture.width);
}

size_t rawBytes(const Picture& picture) {
  const size_t line = lineBytes(picture.fourcc, picture.width);
  if (!line || !picture.height) return 0;
  // Padding after the last line need not be there.
  size_t lines = picture.height;
  if (picture.fourcc == NV12) lines += (size_t{picture.height} + 1) / 2;
  return strideOf(picture) * (lines - 1) + line;
}

Status checkSize(uint32_t width, uint32_t height) {
  if (!width || !height) return Status::misuse;
  if (width > longestSide || height > longestSide) return Status::unsupported;
  return uint64_t{width} * height > mostPixels ? Status::unsupported : Status::ok;
}

Status checkRaw(const Picture& picture) {
  const size_t line = lineBytes(picture.fourcc, picture.width);
  if (!line) return picture.width ? Status::unsupported : Status::misuse;
  if (const Status size = checkSize(picture.width, picture.height); size != Status::ok) return size;
  // The sample kernels read YUYV two bytes at a time, NV12's colours likewise, from line starts.
  if (strideOf(picture) < line || !picture.data) return Status::misuse;
  return picture.length < rawBytes(picture) ? Status::corrupt : Status::ok;
}

View viewOf(const Picture& picture) {
  const uint32_t width = picture.width, height = picture.height;
  const uint32_t halfWidth = (width + 1) / 2, halfHeight = (height + 1) / 2;
  const size_t stride = strideOf(picture);
  View view = {View::grey, picture.full, 1, {}};
  Band& first = view.band[0];
  Band& second = view.band[1];
  first = {Band::bytes, 1, picture.data, stride, width, height, 1, 1, 0, 0};
  if (picture.fourcc == YUYV) {
    view.colour = View::ycc;
    view.bands = 2;
    first.kind = Band::low;
    second = {Band::high, 2, picture.data, stride, halfWidth, height, 0.5, 1, 0, 0};
  } else if (picture.fourcc == NV12) {
    view.colour = View::ycc;
    view.bands = 2;
    second = {Band::bytes, 2, picture.data + stride * height, stride, halfWidth, halfHeight,
              0.5, 0.5, 0, 0};
  } else if (picture.fourcc == RGB3) {
    view.colour = View::rgb;
    view.full = true;
    first.channels = 3;
  }
  return view;
}

}  // namespace pixels
