#include "mask.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "pixels_scratch.h"

namespace pixels {

bool Shape::set(const Polygons& polygons, const Axes& axes, uint32_t width, uint32_t height) {
  corners_.clear();
  ends_.clear();
  for (const std::vector<Point>& polygon : polygons) {
    if (polygon.size() < 3) return false;
    for (const Point& point : polygon) {
      if (!std::isfinite(point.x) || !std::isfinite(point.y)) return false;
      double x = point.x, y = point.y;
      if (axes.swap) std::swap(x, y);
      if (axes.reverseX) x = 1 - x;
      if (axes.reverseY) y = 1 - y;
      corners_.push_back({x * width, y * height});
    }
    ends_.push_back(corners_.size());
  }
  return true;
}

static void fill(uint8_t* cells, uint32_t count, double from, double to) {
  // A hair outward, so that rounding never spares a cell.
  const double first = std::floor(from - 1e-4), last = std::floor(to + 1e-4);
  if (last < 0 || first >= count) return;
  const auto begin = static_cast<uint32_t>(std::max(first, 0.0));
  const auto end = static_cast<uint32_t>(std::min(last, count - 1.0));
  memset(cells + begin, 1, end - begin + 1);
}

// Every cell that an edge passes through, and of the others, which are wholly inside or wholly
// outside, those whose middle line lies inside (however often a polygon winds round them).
void Shape::mark(uint32_t cellWidth, uint32_t cellHeight, uint32_t row, uint8_t* cells,
                 uint32_t count) const {
  const double top = static_cast<double>(row) * cellHeight, bottom = top + cellHeight;
  const double middle = (top + bottom) / 2;
  size_t begin = 0;
  for (const size_t end : ends_) {
    crossings_.clear();
    for (size_t i = begin; i < end; i++) {
      const Corner& a = corners_[i];
      const Corner& b = corners_[i + 1 < end ? i + 1 : begin];
      const double low = std::min(a.y, b.y), high = std::max(a.y, b.y);
      if (high < top - 1e-4 || low > bottom + 1e-4) continue;
      const double slope = high - low > 1e-9 ? (b.x - a.x) / (b.y - a.y) : 0;
      const auto at = [&](double y) { return a.x + slope * (y - a.y); };
      const bool flat = high - low <= 1e-9;
      const double x0 = flat ? a.x : at(std::clamp(top - 1e-4, low, high));
      const double x1 = flat ? b.x : at(std::clamp(bottom + 1e-4, low, high));
      fill(cells, count, std::min(x0, x1) / cellWidth, std::max(x0, x1) / cellWidth);
      if (low <= middle && middle < high) crossings_.push_back({at(middle), a.y < b.y ? 1 : -1});
    }
    std::sort(crossings_.begin(), crossings_.end(),
              [](const Crossing& a, const Crossing& b) { return a.x < b.x; });
    int winding = 0;
    for (size_t i = 0; i + 1 < crossings_.size(); i++) {
      winding += crossings_[i].winding;
      if (winding) fill(cells, count, crossings_[i].x / cellWidth, crossings_[i + 1].x / cellWidth);
    }
    begin = end;
  }
}

// 128 is the middle of every sample of every raw format: grey.
static const int grey = 128;

static void burn(uint8_t* data, const Picture& picture, const Shape& shape, uint8_t* cells) {
  const uint32_t cellWidth = picture.fourcc == YUYV || picture.fourcc == NV12 ? 2 : 1;
  const uint32_t cellHeight = picture.fourcc == NV12 ? 2 : 1;
  const uint32_t count = (picture.width + cellWidth - 1) / cellWidth;
  const size_t line = lineBytes(picture.fourcc, picture.width);
  const size_t stride = picture.stride ? picture.stride : line;
  const size_t cellBytes = picture.fourcc == YUYV ? 4 : picture.fourcc == RGB3 ? 3 : cellWidth;
  for (uint32_t y = 0; y < picture.height; y += cellHeight) {
    memset(cells, 0, count);
    shape.mark(cellWidth, cellHeight, y / cellHeight, cells, count);
    for (uint32_t from = 0; from < count; from++) {
      if (!cells[from]) continue;
      uint32_t to = from;
      while (to < count && cells[to]) to++;
      const size_t start = from * cellBytes, bytes = (to - from) * cellBytes;
      memset(data + stride * y + start, grey, bytes);
      if (picture.fourcc == NV12) {
        if (y + 1 < picture.height) memset(data + stride * (y + 1) + start, grey, bytes);
        memset(data + stride * (picture.height + y / 2) + start, grey, bytes);
      }
      from = to;
    }
  }
}

static void markUnits(const void* context, const Units& units, uint32_t row, uint8_t* cells,
                      uint32_t count) {
  static_cast<const Shape*>(context)->mark(units.width, units.height, row, cells, count);
}

Status mask(uint8_t* data, size_t* length, size_t capacity, const Picture& picture, Turn turn,
            const Polygons& polygons, Scratch& scratch) {
  Scratch::Inside& inside = *scratch.inside();
  inside.message[0] = 0;
  Axes axes;
  if (!axesOf(turn, &axes) || data != picture.data || capacity < picture.length) {
    return Status::misuse;
  }
  *length = picture.length;
  if (polygons.empty()) return Status::ok;
  Shape& shape = inside.shape;
  if (!shape.set(polygons, axes, picture.width, picture.height)) return Status::misuse;
  const Status state = check(picture);
  if (state != Status::ok) return state;

  if (picture.fourcc != MJPG) {
    if (!inside.cells.reserve(picture.width)) return Status::full;
    burn(data, picture, shape, inside.cells.as());
    return Status::ok;
  }
  // A camera with Huffman tables of its own may have packed tighter than the standard ones do.
  const size_t room = std::min(capacity, picture.length + picture.length / 2 + 65536);
  if (!inside.coded.reserve(room)) return Status::full;
  size_t written = 0;
  const Status status = blankJpeg(picture, markUnits, &shape, &inside.cells, inside.coded.as(),
                                  room, &written, inside.message);
  if (status != Status::ok) return status;
  memcpy(data, inside.coded.as(), written);
  *length = written;
  return Status::ok;
}

}  // namespace pixels
