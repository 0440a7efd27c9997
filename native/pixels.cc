#include "pixels.h"

#include <algorithm>
#include <cmath>

#include "pixels_scratch.h"

namespace pixels {

Scratch::Scratch() : inside_(new Inside) {}
Scratch::~Scratch() = default;

size_t Scratch::bytes() const {
  const Inside& in = *inside_;
  size_t bytes = in.decoded.bytes() + in.shared.bytes() + in.planes.bytes() + in.lines.bytes() +
                 in.coded.bytes() + in.cells.bytes();
  for (const Resampler& resampler : in.resamplers) bytes += resampler.held();
  return bytes;
}

const char* Scratch::message() const { return inside_->message; }

// libjpeg has fast transforms for whole, half and quarter size, and an eighth needs none; the
// sizes between cost more than the next of these. (Where a JPEG has its colours at half width only,
// 4:2:2, they stay at half the width of what is decoded: good enough for a network and for 4:2:0.)
static int eighthsFor(double step) {
  if (step >= 8) return 1;
  if (step >= 4) return 2;
  return step >= 2 ? 4 : 8;
}

static View viewOf(const JpegPlanes& planes) {
  View view = {planes.count == 1 ? View::grey : View::ycc, true, planes.count, {}};
  for (int k = 0; k < planes.count; k++) {
    view.band[k] = {Band::bytes, 1, planes.data[k], planes.stride[k], planes.width[k],
                    planes.height[k], planes.perX[k], planes.perY[k], 0, 0};
  }
  return view;
}

// True with a view, or a status, when the picture is one to be shared.
static bool openShared(const Picture& picture, int eighths, Scratch::Inside& inside, View* view,
                       Status* status) {
  auto& kept = inside.kept;
  *status = Status::ok;
  if (!picture.identity) return false;
  if (kept.identity != picture.identity || kept.eighths < eighths) {
    if (!(picture.finest > 0)) return false;
    kept.identity = 0;
    kept.eighths = std::max(eighths, eighthsFor(picture.finest + 1e-6));
    *status = readPlanes(picture, kept.eighths, &inside.shared, inside.message, &kept.planes);
    if (*status != Status::ok) return true;
    if (kept.planes.count == 0) return false;
    kept.identity = picture.identity;
  }
  *view = viewOf(kept.planes);
  return true;
}

Status open(const Picture& picture, Box stored, double step, bool grey, Scratch::Inside& inside,
            View* view) {
  inside.message[0] = 0;
  if (picture.fourcc != MJPG) {
    const Status state = checkRaw(picture);
    if (state == Status::ok) *view = viewOf(picture);
    return state;
  }
  const Status size = checkSize(picture.width, picture.height);
  if (size != Status::ok) return size;
  const int eighths = eighthsFor(step + 1e-6);
  Status status;
  if (openShared(picture, eighths, inside, view, &status)) return status;
  Raster raster;
  status = readJpeg(picture, grey, eighths, stored, &inside.decoded, inside.message,
                                 &raster);
  if (status != Status::ok) return status;
  const double per = eighths / 8.0;
  *view = {grey ? View::grey : View::rgb, true, 1, {}};
  view->band[0] = {Band::bytes, grey ? 1 : 3, raster.data, raster.stride, raster.width,
                   raster.height, per, per, static_cast<double>(raster.left),
                   static_cast<double>(raster.top)};
  return Status::ok;
}

Status luma(const Picture& picture, Turn turn, uint32_t width, uint32_t height, uint8_t* out,
            Scratch& scratch) {
  Scratch::Inside& inside = *scratch.inside();
  Axes axes;
  if (!axesOf(turn, &axes) || checkSize(width, height) != Status::ok) return Status::misuse;
  if (checkSize(picture.width, picture.height) != Status::ok) {
    return checkSize(picture.width, picture.height);
  }
  const uint32_t across = axes.swap ? height : width, down = axes.swap ? width : height;
  const double stepX = static_cast<double>(picture.width) / across;
  const double stepY = static_cast<double>(picture.height) / down;
  const Box whole = {0, 0, static_cast<int>(picture.width), static_cast<int>(picture.height)};
  View view;
  const Status status = open(picture, whole, std::min(stepX, stepY), true, inside, &view);
  if (status != Status::ok) return status;

  const Band& band = view.band[0];
  Resampler& grey = inside.resamplers[0];
  const Axis x = axisOf(band.perX, band.left, 0, picture.width, stepX, across, false);
  const Axis y = axisOf(band.perY, band.top, 0, picture.height, stepY, down, false);
  if (!grey.start(band, x, y) || !inside.lines.reserve(size_t{across} * 4)) return Status::full;
  const Walk walk = walkOf(axes, across, down, static_cast<ptrdiff_t>(width));
  uint8_t* line = inside.lines.as();
  for (uint32_t j = 0; j < down; j++) {
    grey.line(j);
    uint8_t* to = out + walk.start + walk.dy * static_cast<ptrdiff_t>(j);
    uint8_t* target = walk.dx == 1 ? to : line;
    if (view.colour != View::rgb) {
      grey.bytes(&target);
    } else {
      uint8_t* rgb = inside.lines.as() + across;
      grey.triples(rgb);
      for (uint32_t i = 0; i < across; i++) {
        const uint8_t* p = rgb + 3 * i;
        target[i] = static_cast<uint8_t>((77 * p[0] + 150 * p[1] + 29 * p[2] + 128) >> 8);
      }
    }
    if (walk.dx == 1) continue;
    for (uint32_t i = 0; i < across; i++) to[walk.dx * static_cast<ptrdiff_t>(i)] = line[i];
  }
  return Status::ok;
}

}  // namespace pixels
