#include "choice.h"

#include <algorithm>
#include <cmath>
#include <linux/videodev2.h>

namespace camera {
namespace {

// MJPG first: it costs the pre-roll nothing but the copy.
int rankOf(uint32_t fourcc) {
  switch (fourcc) {
    case V4L2_PIX_FMT_MJPEG: return 0;
    case V4L2_PIX_FMT_JPEG: return 1;
    case V4L2_PIX_FMT_YUYV: return 2;
    case V4L2_PIX_FMT_NV12: return 3;
    case V4L2_PIX_FMT_RGB24: return 4;
    default: return 5;
  }
}

bool matches(uint32_t offered, uint32_t wished) {
  return wished == 0 || offered == wished ||
         (wished == V4L2_PIX_FMT_MJPEG && offered == V4L2_PIX_FMT_JPEG);
}

uint32_t stepped(uint32_t wished, uint32_t least, uint32_t most, uint32_t step) {
  const uint32_t bounded = std::clamp(wished, std::min(least, most), most);
  return least + (bounded - least) / step * step;
}

// 0 for the wished size; a larger picture costs more than one that is as much smaller.
double sizeCost(const Wish& wish, uint32_t width, uint32_t height) {
  const double area = std::log(double(width) * height / (double(wish.width) * wish.height));
  const double shape = std::log(double(width) / height * wish.height / wish.width);
  return (area > 0 ? 1.5 * area : -area) + 2 * std::fabs(shape);
}

double rateCost(const Wish& wish, const Interval& interval) {
  return interval.denominator ? std::max(0.0, 1 - interval.fps() / wish.fps) : 0;
}

}  // namespace

Interval chooseInterval(const Size& size, double fps) {
  if (size.intervals.empty()) return {};
  if (size.rateStepwise) {
    const double fastest = size.intervals[0].fps(), slowest = size.intervals[1].fps();
    if (fps >= fastest) return size.intervals[0];
    if (fps <= slowest) return size.intervals[1];
    return {1000, static_cast<uint32_t>(std::lround(fps * 1000))};
  }
  Interval best, fastest;
  for (const Interval& each : size.intervals) {
    if (each.fps() > fastest.fps()) fastest = each;
    if (each.fps() >= fps * 0.99 && (!best.denominator || each.fps() < best.fps())) best = each;
  }
  return best.denominator ? best : fastest;
}

Error choose(const Device& device, const Wish& wish, Choice* out) {
  double least = 0;
  bool found = false;
  std::string offered;
  for (const Format& format : device.formats) {
    offered += (offered.empty() ? "" : ", ") + fourccName(format.fourcc);
    if (!isUsable(format.fourcc) || !matches(format.fourcc, wish.fourcc)) continue;
    const auto consider = [&](uint32_t width, uint32_t height, const Interval& interval) {
      const double cost = sizeCost(wish, width, height) + rateCost(wish, interval) +
                          0.001 * rankOf(format.fourcc);
      if (found && cost >= least) return;
      found = true;
      least = cost;
      *out = {format.fourcc, width, height, interval};
    };
    if (format.sizes.empty()) consider(wish.width, wish.height, {});
    for (const Size& size : format.sizes) {
      const Interval interval = chooseInterval(size, wish.fps);
      if (!size.stepwise) {
        consider(size.width, size.height, interval);
      } else {
        consider(stepped(wish.width, size.leastWidth, size.width, size.stepWidth),
                 stepped(wish.height, size.leastHeight, size.height, size.stepHeight), interval);
      }
    }
  }
  if (found) return {};
  Error error;
  error.kind = Kind::refused;
  error.message = device.node.path + " does not offer the format " + fourccName(wish.fourcc);
  error.hint = "it offers " + offered;
  return error;
}

}  // namespace camera
