#include <algorithm>
#include <cmath>

#include "pixels_scratch.h"

namespace pixels {

bool holds(const Picture& picture, const Axes& axes, Box crop) {
  const int64_t width = axes.swap ? picture.height : picture.width;
  const int64_t height = axes.swap ? picture.width : picture.height;
  return crop.x >= 0 && crop.y >= 0 && crop.width > 0 && crop.height > 0 &&
         int64_t{crop.x} + crop.width <= width && int64_t{crop.y} + crop.height <= height;
}

namespace {

// One channel of a line: what the network wants for it, value = raw * factor + offset.
struct Norm {
  float factor[3], offset[3];  // red, green, blue
  int place[3];                // the channel of the tensor
};

Norm normOf(const TensorSpec& spec) {
  Norm norm;
  for (int colour = 0; colour < 3; colour++) {
    const int place = spec.bgr ? 2 - colour : colour;
    norm.place[colour] = place;
    norm.factor[colour] = 1 / spec.deviation[place];
    norm.offset[colour] = -spec.mean[place] / spec.deviation[place];
  }
  return norm;
}

inline float within(float v) {
  v = v < 0.0f ? 0.0f : v;
  return v > 255.0f ? 255.0f : v;
}

// BT.601, from 16..235 or (full) 0..255.
void colours(const float* __restrict y, const float* __restrict u, const float* __restrict v,
             bool full, float* __restrict red, float* __restrict green, float* __restrict blue,
             uint32_t count) {
  const float grey = full ? 1 : 255.0f / 219, black = full ? 0 : 16;
  const float chroma = full ? 1 : 255.0f / 224;
  const float vr = 1.402f * chroma, vg = -0.714136f * chroma;
  const float ug = -0.344136f * chroma, ub = 1.772f * chroma;
  for (uint32_t i = 0; i < count; i++) {
    const float l = (y[i] - black) * grey, b = u[i] - 128, r = v[i] - 128;
    red[i] = within(l + vr * r);
    green[i] = within(l + ug * b + vg * r);
    blue[i] = within(l + ub * b);
  }
}

void widen(float* line, bool full, uint32_t count) {
  const float grey = full ? 1 : 255.0f / 219, black = full ? 0 : 16;
  for (uint32_t i = 0; i < count; i++) line[i] = within((line[i] - black) * grey);
}

void store(const float* __restrict line, float factor, float offset, float* __restrict out,
           ptrdiff_t step, uint32_t count) {
  if (step == 1) {
    for (uint32_t i = 0; i < count; i++) out[i] = line[i] * factor + offset;
  } else {
    for (uint32_t i = 0; i < count; i++) {
      out[step * static_cast<ptrdiff_t>(i)] = line[i] * factor + offset;
    }
  }
}

// Everything around the content.
void padTensor(float* out, uint32_t width, uint32_t height, uint32_t x, uint32_t y,
               uint32_t contentWidth, uint32_t contentHeight, float value) {
  for (uint32_t row = 0; row < height; row++, out += width) {
    const bool inside = row >= y && row < y + contentHeight;
    std::fill(out, out + (inside ? x : width), value);
    if (inside) std::fill(out + x + contentWidth, out + width, value);
  }
}

}  // namespace

Status tensor(const Picture& picture, Turn turn, Box crop, uint32_t width, uint32_t height,
              const TensorSpec& spec, float* out, Mapping* mapping, Scratch& scratch) {
  Scratch::Inside& inside = *scratch.inside();
  Axes axes;
  if (!axesOf(turn, &axes) || !holds(picture, axes, crop)) return Status::misuse;
  if (checkSize(width, height) != Status::ok) return Status::misuse;
  for (const float deviation : spec.deviation) {
    if (!(std::fabs(deviation) > 0)) return Status::misuse;
  }

  const double scale = std::min(static_cast<double>(width) / crop.width,
                                static_cast<double>(height) / crop.height);
  const auto fit = [scale](int side, uint32_t most) {
    return std::clamp(static_cast<uint32_t>(std::lround(side * scale)), 1u, most);
  };
  const uint32_t contentWidth = fit(crop.width, width), contentHeight = fit(crop.height, height);
  const uint32_t offsetX = (width - contentWidth) / 2, offsetY = (height - contentHeight) / 2;

  const Box stored = toStored(crop, axes, picture.width, picture.height);
  const double step = 1 / scale;
  View view;
  const Status status = open(picture, stored, step, false, inside, &view);
  if (status != Status::ok) return status;
  const uint32_t across = axes.swap ? contentHeight : contentWidth;
  const uint32_t down = axes.swap ? contentWidth : contentHeight;
  for (int b = 0; b < view.bands; b++) {
    const Band& band = view.band[b];
    const Axis x =
        axisOf(band.perX, band.left, stored.x, stored.width, step, across, axes.reverseX);
    const Axis y =
        axisOf(band.perY, band.top, stored.y, stored.height, step, down, axes.reverseY);
    if (!inside.resamplers[b].start(band, x, y)) return Status::full;
  }
  if (!inside.lines.reserve(size_t{across} * 6 * sizeof(float))) return Status::full;
  float* line[6];
  for (uint32_t i = 0; i < 6; i++) line[i] = inside.lines.as<float>() + size_t{across} * i;

  const Norm norm = normOf(spec);
  const size_t plane = size_t{width} * height;
  const Walk walk = walkOf(axes, across, down, static_cast<ptrdiff_t>(width));
  float* content = out + size_t{offsetY} * width + offsetX;
  for (uint32_t j = 0; j < down; j++) {
    Resampler& first = inside.resamplers[0];
    first.line(j);
    const float* rgb[3] = {line[0], line[1], line[2]};
    if (view.colour == View::rgb) {
      first.floats(line);
    } else if (view.colour == View::ycc) {
      Resampler& second = inside.resamplers[1];
      second.line(j);
      first.floats(line + 3);
      second.floats(line + 4);
      if (view.bands == 3) {
        inside.resamplers[2].line(j);
        inside.resamplers[2].floats(line + 5);
      }
      colours(line[3], line[4], line[5], view.full, line[0], line[1], line[2], across);
    } else {
      first.floats(line);
      widen(line[0], view.full, across);
      rgb[1] = rgb[2] = line[0];
    }
    for (int c = 0; c < 3; c++) {
      float* to = content + plane * static_cast<size_t>(norm.place[c]);
      store(rgb[c], norm.factor[c], norm.offset[c],
            to + walk.start + walk.dy * static_cast<ptrdiff_t>(j), walk.dx, across);
    }
  }
  for (int c = 0; c < 3; c++) {
    padTensor(out + plane * static_cast<size_t>(c), width, height, offsetX, offsetY, contentWidth,
              contentHeight, (spec.pad - spec.mean[c]) / spec.deviation[c]);
  }
  *mapping = {static_cast<float>(scale), static_cast<float>(offsetX), static_cast<float>(offsetY)};
  return Status::ok;
}

}  // namespace pixels
