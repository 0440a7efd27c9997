#include "reference.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <utility>

namespace expect {
static int failed = 0;
int failures() { return failed; }
bool that(bool holds, const char* format, ...) {
  if (holds) return true;
  if (++failed <= 20) {
    va_list args;
    va_start(args, format);
    printf("not so: ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
  }
  return false;
}
}  // namespace expect

namespace reference {

// Upright → stored, continuous coordinates, straight from the definition of a turn.
static void back(const pixels::Picture& p, pixels::Turn turn, double* x, double* y) {
  const bool side = turn.rotate == 90 || turn.rotate == 270;
  if (turn.flip) *x = (side ? p.height : p.width) - *x;
  const double u = *x, v = *y;
  if (turn.rotate == 90) *x = v, *y = p.height - u;
  if (turn.rotate == 180) *x = p.width - u, *y = p.height - v;
  if (turn.rotate == 270) *x = p.width - v, *y = u;
}

pixels::Box whole(const pixels::Picture& p, pixels::Turn turn) {
  const int width = static_cast<int>(p.width), height = static_cast<int>(p.height);
  return turn.rotate % 180 ? pixels::Box{0, 0, height, width} : pixels::Box{0, 0, width, height};
}

static Area stored(const scene::Stored& s, pixels::Turn turn, Area a) {
  back(s.picture, turn, &a.x0, &a.y0);
  back(s.picture, turn, &a.x1, &a.y1);
  if (a.x0 > a.x1) std::swap(a.x0, a.x1);
  if (a.y0 > a.y1) std::swap(a.y0, a.y1);
  return a;
}

static double channel(const scene::Stored& s, Area a, Area limits, int c) {
  const bool halfX = s.ycc && c > 0, halfY = halfX && s.picture.fourcc == pixels::NV12;
  const int perX = halfX ? 2 : 1, perY = halfY ? 2 : 1;
  a = {a.x0 / perX, a.y0 / perY, a.x1 / perX, a.y1 / perY};
  const auto grow = [](double* from, double* to) {
    if (*to - *from >= 1 - 1e-9) return;
    const double middle = (*from + *to) / 2;
    *from = middle - 0.5, *to = middle + 0.5;
  };
  grow(&a.x0, &a.x1);
  grow(&a.y0, &a.y1);
  const int lowX = static_cast<int>(std::floor(limits.x0 / perX + 1e-9)), lowY = static_cast<int>(std::floor(limits.y0 / perY + 1e-9));
  const int highX = static_cast<int>(std::ceil(limits.x1 / perX - 1e-9)), highY = static_cast<int>(std::ceil(limits.y1 / perY - 1e-9));
  double sum = 0, weight = 0;
  for (int y = static_cast<int>(std::floor(a.y0)); y < a.y1; y++) {
    const double down = std::min(a.y1, y + 1.0) - std::max(a.y0, static_cast<double>(y));
    for (int x = static_cast<int>(std::floor(a.x0)); x < a.x1; x++) {
      const double across = std::min(a.x1, x + 1.0) - std::max(a.x0, static_cast<double>(x));
      const int sx = std::clamp(x, lowX, highX - 1) * perX, sy = std::clamp(y, lowY, highY - 1) * perY;
      sum += down * across * s.at(static_cast<uint32_t>(sx), static_cast<uint32_t>(sy), c);
      weight += down * across;
    }
  }
  return sum / weight;
}

static Area edges(pixels::Box crop) {
  return {static_cast<double>(crop.x), static_cast<double>(crop.y),
          static_cast<double>(crop.x + crop.width), static_cast<double>(crop.y + crop.height)};
}

double plain(const scene::Stored& s, pixels::Turn turn, Area area, pixels::Box crop) {
  const Area a = stored(s, turn, area), limits = stored(s, turn, edges(crop));
  if (s.ycc || s.single) return channel(s, a, limits, 0);
  return 0.299 * channel(s, a, limits, 0) + 0.587 * channel(s, a, limits, 1) +
         0.114 * channel(s, a, limits, 2);
}

Colour sample(const scene::Stored& s, pixels::Turn turn, Area area, pixels::Box crop) {
  const Area a = stored(s, turn, area), limits = stored(s, turn, edges(crop));
  const auto within = [](double v) { return std::clamp(v, 0.0, 255.0); };
  const bool full = s.picture.full;
  const double black = full ? 0 : 16, wide = full ? 1 : 255.0 / 219, chroma = full ? 1 : 255.0 / 224;
  const double first = channel(s, a, limits, 0);
  if (s.single) {
    const double grey = within((first - black) * wide);
    return {grey, grey, grey, grey};
  }
  const double second = channel(s, a, limits, 1), third = channel(s, a, limits, 2);
  if (!s.ycc) return {first, second, third, 0.299 * first + 0.587 * second + 0.114 * third};
  const double y = (first - black) * wide, b = (second - 128) * chroma, r = (third - 128) * chroma;
  return {within(y + 1.402 * r), within(y - 0.344136 * b - 0.714136 * r), within(y + 1.772 * b),
          within(y)};
}

}  // namespace reference
