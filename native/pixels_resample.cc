#include "pixels_resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace pixels {

Axis axisOf(double per, double offset, double from, double length, double step, uint32_t count,
            bool reversed) {
  const double first = reversed ? from + length - step * count : from;
  return {first * per - offset, step * per, count, from * per - offset,
          (from + length) * per - offset};
}

// Shrinking takes each sample by the share of it that lies under the result. Growing takes the two
// nearest by distance. Both are exact copies where result and sample coincide.
bool Taps::build(const Axis& axis, uint32_t samples) {
  const auto floorOf = [](double v) { return static_cast<int64_t>(std::floor(v + 1e-6)); };
  const auto ceilOf = [](double v) { return static_cast<int64_t>(std::ceil(v - 1e-6)); };
  const int64_t low = std::clamp<int64_t>(floorOf(axis.low), 0, samples - 1);
  const int64_t high = std::clamp<int64_t>(ceilOf(axis.high), low + 1, samples);
  const bool whole = std::fabs(axis.start - std::round(axis.start)) < 1e-6;
  const bool copy = whole && std::fabs(axis.step - 1) < 1e-9;
  int64_t width = axis.step < 1 ? 2 : static_cast<int64_t>(std::ceil(axis.step - 1e-6)) + 1;
  copy_ = copy && std::lround(axis.start) >= low &&
          std::lround(axis.start) + int64_t{axis.count} <= high;
  if (whole && std::fabs(axis.step - std::round(axis.step)) < 1e-9) width = std::lround(axis.step);
  width = std::clamp<int64_t>(width, 1, high - low);
  count_ = axis.count;
  width_ = static_cast<uint32_t>(width);
  if (!firsts_.reserve(count_ * sizeof(uint32_t))) return false;
  if (!weights_.reserve(size_t{count_} * width_ * sizeof(uint16_t))) return false;

  for (uint32_t i = 0; i < count_; i++) {
    double from = axis.start + i * axis.step;
    double to = from + axis.step;
    if (axis.step < 1) {
      from = (from + to) / 2 - 0.5;
      to = from + 1;
    }
    const int64_t first = std::clamp<int64_t>(floorOf(from), low, high - width);
    uint16_t* weights = weights_.as<uint16_t>() + size_t{i} * width_;
    // What lies outside is the sample at the border once more.
    double sum = 0;
    uint32_t given = 0;
    for (int64_t k = 0; k < width; k++) {
      const double left = first + k == low ? -1e9 : static_cast<double>(first + k);
      const double right = first + k + 1 == high ? 1e9 : static_cast<double>(first + k + 1);
      sum += std::max(0.0, std::min(to, right) - std::max(from, left));
      const auto until = static_cast<uint32_t>(std::lround(256 * std::min(1.0, sum / (to - from))));
      weights[k] = static_cast<uint16_t>(until - given);
      given = until;
    }
    weights[width - 1] = static_cast<uint16_t>(weights[width - 1] + 256 - given);
    firsts_.as<uint32_t>()[i] = static_cast<uint32_t>(first);
  }
  return true;
}

bool Resampler::start(const Band& band, const Axis& x, const Axis& y) {
  band_ = band;
  if (!x_.build(x, band.width) || !y_.build(y, band.height)) return false;
  from_ = x_.begin();
  samples_ = (x_.end() - from_) * static_cast<uint32_t>(band.channels);
  return sums_.reserve(samples_ * sizeof(uint16_t));
}

// Two bytes as they lie in memory: both processors of this product are little-endian.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
typedef uint16_t __attribute__((aligned(1), may_alias)) Pair;

// Weights sum to 256, so a sum of products never leaves 16 bits.
template <typename In, typename Take>
static void add(uint16_t* __restrict sums, const In* __restrict in, size_t count, uint16_t weight,
                bool fresh, Take take) {
  if (fresh) {
    for (size_t i = 0; i < count; i++) sums[i] = static_cast<uint16_t>(take(in[i]) * weight);
  } else {
    for (size_t i = 0; i < count; i++) {
      sums[i] = static_cast<uint16_t>(sums[i] + static_cast<uint16_t>(take(in[i]) * weight));
    }
  }
}

void Resampler::line(uint32_t j) {
  uint16_t* sums = sums_.as<uint16_t>();
  const uint16_t* weights = y_.weights(j);
  bool fresh = true;
  for (uint32_t k = 0; k < y_.width(); k++) {
    if (!weights[k]) continue;
    const uint8_t* line = band_.data + band_.stride * (y_.first(j) + k);
    const size_t from = size_t{from_} * static_cast<size_t>(band_.channels);
    if (band_.kind == Band::bytes) {
      add(sums, line + from, samples_, weights[k], fresh, [](uint8_t v) -> uint16_t { return v; });
    } else {
      const Pair* pairs = reinterpret_cast<const Pair*>(line) + from;
      if (band_.kind == Band::low) {
        add(sums, pairs, samples_, weights[k], fresh, [](uint16_t v) -> uint16_t { return v & 255; });
      } else {
        add(sums, pairs, samples_, weights[k], fresh, [](uint16_t v) -> uint16_t { return v >> 8; });
      }
    }
    fresh = false;
  }
}

template <typename Out>
void Resampler::across(int channel, Out out) {
  const uint32_t width = x_.width(), count = x_.count();
  const size_t channels = static_cast<size_t>(band_.channels);
  const uint16_t* sums = sums_.as<uint16_t>() + channel;
  for (uint32_t i = 0; i < count; i++) {
    const uint16_t* weights = x_.weights(i);
    const uint16_t* from = sums + (x_.first(i) - from_) * channels;
    uint32_t sum = 0;
    for (uint32_t k = 0; k < width; k++) sum += uint32_t{weights[k]} * from[k * channels];
    out(i, sum);
  }
}

void Resampler::bytes(int channel, uint8_t* out) {
  if (x_.copies()) {
    const size_t channels = static_cast<size_t>(band_.channels);
    const uint16_t* __restrict sums = sums_.as<uint16_t>() + channel;
    const uint32_t count = x_.count();
    if (channels == 1) {
      for (uint32_t i = 0; i < count; i++) out[i] = static_cast<uint8_t>((sums[i] + 128) >> 8);
    } else {
      for (uint32_t i = 0; i < count; i++) {
        out[i] = static_cast<uint8_t>((sums[i * channels] + 128) >> 8);
      }
    }
    return;
  }
  across(channel, [out](uint32_t i, uint32_t sum) {
    out[i] = static_cast<uint8_t>((sum + 32768) >> 16);
  });
}

void Resampler::floats(int channel, float* out) {
  across(channel, [out](uint32_t i, uint32_t sum) {
    out[i] = static_cast<float>(static_cast<int32_t>(sum)) * (1.0f / 65536);
  });
}

void Resampler::triples(uint8_t* out) {
  for (int channel = 0; channel < band_.channels; channel++) {
    across(channel, [this, out, channel](uint32_t i, uint32_t sum) {
      out[size_t{i} * static_cast<size_t>(band_.channels) + static_cast<size_t>(channel)] =
          static_cast<uint8_t>((sum + 32768) >> 16);
    });
  }
}

}  // namespace pixels
