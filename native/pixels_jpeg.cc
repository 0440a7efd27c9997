#include <algorithm>
#include <cmath>
#include <cstring>

#include "pixels_scratch.h"

namespace pixels {

namespace {

// Puts the lines of one plane where they belong in the upright picture. Lines that become columns
// are collected by sixteen, so that memory is written in runs and not byte by byte across lines.
class Placer {
 public:
  static constexpr uint32_t most = 16;
  Placer(const Axes& axes, uint32_t width, uint32_t height, uint8_t* out, size_t stride,
         int channels, uint8_t* lines)
      : walk_(walkOf(axes, width, height, static_cast<ptrdiff_t>(stride) / channels)), out_(out),
        stride_(stride), channels_(channels), swap_(axes.swap), width_(width), height_(height),
        lines_(lines) {}

  uint8_t* line(uint32_t j) { return lines_ + size_t{width_} * channels_ * (j % most); }

  void done(uint32_t j) {
    if (!swap_) return row(j);
    if (j % most == most - 1 || j + 1 == height_) columns(j - j % most, j % most + 1);
  }

 private:
  // Upright strides are a multiple of the channels only for planes and packed triples.
  uint8_t* at(ptrdiff_t samples) { return out_ + samples * channels_; }

  void row(uint32_t j) {
    const uint8_t* from = line(j);
    uint8_t* to = at(walk_.start + walk_.dy * static_cast<ptrdiff_t>(j));
    if (walk_.dx == 1) {
      memcpy(to, from, size_t{width_} * channels_);
    } else if (channels_ == 1) {
      for (uint32_t i = 0; i < width_; i++) *(to - i) = from[i];
    } else {
      for (uint32_t i = 0; i < width_; i++, to -= 3, from += 3) memcpy(to, from, 3);
    }
  }

  void columns(uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < width_; i++) {
      uint8_t* to = at(walk_.start + walk_.dx * static_cast<ptrdiff_t>(i) +
                       walk_.dy * static_cast<ptrdiff_t>(first));
      for (uint32_t k = 0; k < count; k++, to += walk_.dy * channels_) {
        const uint8_t* from = lines_ + (size_t{width_} * k + i) * channels_;
        to[0] = from[0];
        if (channels_ == 3) to[1] = from[1], to[2] = from[2];
      }
    }
  }

  Walk walk_;
  uint8_t* out_;
  size_t stride_;
  const int channels_;
  const bool swap_;
  const uint32_t width_, height_;
  uint8_t* lines_;
};

// From 16..235 (colour: 16..240) to the 0..255 of a JPEG.
void widen(uint8_t* samples, size_t count, bool colour) {
  const int factor = colour ? 4663 : 4769, zero = colour ? 128 : 16, to = colour ? 128 : 0;
  for (size_t i = 0; i < count; i++) {
    int v = ((samples[i] - zero) * factor + 2048) >> 12;
    v += to;
    v = v < 0 ? 0 : v;
    samples[i] = static_cast<uint8_t>(v > 255 ? 255 : v);
  }
}

size_t roundUp(size_t v, size_t to) { return (v + to - 1) / to * to; }

// libjpeg reads whole blocks: the last sample of each line goes on to the right.
void extend(uint8_t* plane, uint32_t width, uint32_t height, size_t stride) {
  for (uint32_t y = 0; y < height; y++, plane += stride) {
    memset(plane + width, plane[width - 1], stride - width);
  }
}

struct Size {
  uint32_t width, height;
};

}  // namespace

Status jpeg(const Picture& picture, Turn turn, Box crop, uint32_t maxWidth, int quality,
            uint8_t* out, size_t capacity, size_t* length, uint32_t* width, uint32_t* height,
            Scratch& scratch) {
  Scratch::Inside& inside = *scratch.inside();
  Axes axes;
  if (!axesOf(turn, &axes) || !holds(picture, axes, crop)) return Status::misuse;
  if (quality < 1 || quality > 100 || !out) return Status::misuse;

  Size upright = {static_cast<uint32_t>(crop.width), static_cast<uint32_t>(crop.height)};
  if (maxWidth && maxWidth < upright.width) {
    const double down = static_cast<double>(maxWidth) / upright.width;
    upright = {maxWidth, std::max(1u, static_cast<uint32_t>(std::lround(crop.height * down)))};
  }
  const double uprightStepX = static_cast<double>(crop.width) / upright.width;
  const double uprightStepY = static_cast<double>(crop.height) / upright.height;
  const double stepX = axes.swap ? uprightStepY : uprightStepX;
  const double stepY = axes.swap ? uprightStepX : uprightStepY;
  const Box stored = toStored(crop, axes, picture.width, picture.height);
  View view;
  // Never of shared planes: triples are what is written from here on.
  Picture alone = picture;
  alone.identity = 0;
  const Status status = open(alone, stored, std::min(stepX, stepY), false, inside, &view);
  if (status != Status::ok) return status;

  // Planes of the upright result: grey, blue, red; or one of triples.
  const bool rgb = view.colour == View::rgb, grey = view.colour == View::grey;
  const Size half = {(upright.width + 1) / 2, (upright.height + 1) / 2};
  const size_t stride = rgb ? size_t{upright.width} * 3 : roundUp(upright.width, 16);
  const size_t halfStride = stride / 2;
  const size_t greyBytes = stride * upright.height;
  const size_t colourBytes = rgb || grey ? 0 : halfStride * half.height;
  if (!inside.planes.reserve(greyBytes + 2 * colourBytes)) return Status::full;
  uint8_t* plane[3] = {inside.planes.as(), inside.planes.as() + greyBytes,
                       inside.planes.as() + greyBytes + colourBytes};

  for (int b = 0; b < view.bands; b++) {
    const Band& band = view.band[b];
    const double coarse = b ? 2 : 1;
    const Size size = b ? half : upright;
    const uint32_t across = axes.swap ? size.height : size.width;
    const uint32_t down = axes.swap ? size.width : size.height;
    const Axis x = axisOf(band.perX, band.left, stored.x, stored.width, stepX * coarse, across,
                          axes.reverseX);
    const Axis y = axisOf(band.perY, band.top, stored.y, stored.height, stepY * coarse, down,
                          axes.reverseY);
    Resampler& resampler = inside.resamplers[b];
    const int channels = rgb ? 3 : 1, count = b ? 2 : 1;
    const size_t block = size_t{across} * static_cast<size_t>(channels) * Placer::most;
    if (!resampler.start(band, x, y) || !inside.lines.reserve(block * 2)) return Status::full;
    uint8_t* lines = inside.lines.as();
    Placer placers[2] = {
        Placer(axes, across, down, plane[b], b ? halfStride : stride, channels, lines),
        Placer(axes, across, down, plane[2], halfStride, channels, lines + block)};
    for (uint32_t j = 0; j < down; j++) {
      resampler.line(j);
      uint8_t* line[2] = {placers[0].line(j), placers[1].line(j)};
      if (rgb) resampler.triples(line[0]);
      else resampler.bytes(line);
      for (int c = 0; c < count; c++) {
        if (!view.full) widen(line[c], across, b == 1);
        placers[c].done(j);
      }
    }
  }
  if (!rgb) extend(plane[0], upright.width, upright.height, stride);
  if (colourBytes) {
    extend(plane[1], half.width, half.height, halfStride);
    extend(plane[2], half.width, half.height, halfStride);
  }
  const Planes planes = {upright.width, upright.height, rgb ? plane[0] : nullptr, plane[0],
                         colourBytes ? plane[1] : nullptr, plane[2], stride, halfStride};
  const Status written = writeJpeg(planes, quality, out, capacity, length, inside.message);
  if (written != Status::ok) return written;
  *width = upright.width;
  *height = upright.height;
  return Status::ok;
}

}  // namespace pixels
