// Averages a region of a band down (or interpolates it up), one line of the result at a time.
#pragma once

#include "pixels_view.h"

namespace pixels {

// One axis of a region: `count` results, each `step` samples wide, from `start` on; no sample
// outside [low, high) is looked at. All in coordinates of the band.
struct Axis {
  double start, step;
  uint32_t count;
  double low, high;
};

// For each result the first sample and `width` weights whose sum is 256.
class Taps {
 public:
  bool build(const Axis&, uint32_t samples);
  uint32_t count() const { return count_; }
  uint32_t width() const { return width_; }
  uint32_t first(uint32_t i) { return firsts_.as<uint32_t>()[i]; }
  const uint16_t* weights(uint32_t i) { return weights_.as<uint16_t>() + size_t{i} * width_; }
  bool copies() const { return copy_; }  // result i is sample first(0) + i
  uint32_t begin() { return first(0); }
  uint32_t end() { return first(count_ - 1) + width_; }
  size_t bytes() const { return firsts_.bytes() + weights_.bytes(); }

 private:
  Buffer firsts_, weights_;
  uint32_t count_ = 0, width_ = 0;
  bool copy_ = false;
};

class Resampler {
 public:
  bool start(const Band&, const Axis& x, const Axis& y);
  // Averages downwards what line j of the result needs. Then the channels can be had.
  void line(uint32_t j);
  // One line for each channel; or (triples) the channels side by side.
  void bytes(uint8_t* const* out);
  void floats(float* const* out);
  void triples(uint8_t* out);
  uint32_t width() const { return x_.count(); }
  uint32_t height() const { return y_.count(); }
  size_t held() const { return x_.bytes() + y_.bytes() + sums_.bytes(); }

 private:
  template <int channels, typename Out>
  void across(Out out);
  template <int channels, uint32_t known, typename Out>
  void weigh(Out out);
  Band band_ = {};
  Taps x_, y_;
  Buffer sums_;  // one line, 8.8 fixed point, channels side by side
  uint32_t from_ = 0, samples_ = 0;
};

// How a region of the stored picture lies along one axis of a band. A reversed axis counts its
// results from the region's far end, so what rounding leaves over falls at the near one.
Axis axisOf(double per, double offset, double from, double length, double step, uint32_t count,
            bool reversed);

}  // namespace pixels
