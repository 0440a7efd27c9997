// Which of the offered formats, sizes and rates to take. Decides only; touches no device.
#pragma once
#include "device.h"

namespace camera {

struct Wish {
  uint32_t width = 1280, height = 720;
  double fps = 15;
  uint32_t fourcc = 0;  // 0: whichever suits
};

struct Choice {
  uint32_t fourcc = 0, width = 0, height = 0;
  Interval interval;  // 0/0: the driver does not enumerate rates, leave it as it is
};

// Takes enumerated formats and sizes only: libcamera's V4L2 layer aborts the process on others.
// Prefers the nearest size that keeps the rate, then MJPG, YUYV, NV12, RGB3, GREY. Refused when
// the wished format is not offered.
Error choose(const Device& device, const Wish& wish, Choice* out);

// The slowest offered interval that reaches `fps`, else the fastest; 0/0 when there is none.
Interval chooseInterval(const Size& size, double fps);

}  // namespace camera
