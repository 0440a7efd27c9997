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
struct __attribute__((packed, may_alias)) Pair {
  uint16_t both;
};

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
    const Pair* pairs = reinterpret_cast<const Pair*>(line) + from;
    const auto whole = [](uint8_t v) -> uint16_t { return v; };
    const auto low = [](Pair v) -> uint16_t { return v.both & 255; };
    const auto high = [](Pair v) -> uint16_t { return v.both >> 8; };
    switch (band_.kind) {
      case Band::bytes: add(sums, line + from, samples_, weights[k], fresh, whole); break;
      case Band::low: add(sums, pairs, samples_, weights[k], fresh, low); break;
      case Band::high: add(sums, pairs, samples_, weights[k], fresh, high); break;
    }
    fresh = false;
  }
}

// `known`: number of weights, for loops that the compiler can unroll; 0: whatever it is.
template <int channels, uint32_t known, typename Out>
void Resampler::weigh(Out out) {
  const uint32_t width = known ? known : x_.width(), count = x_.count();
  const uint16_t* __restrict weights = x_.weights(0);
  const uint16_t* __restrict sums = sums_.as<uint16_t>();
  for (uint32_t i = 0; i < count; i++, weights += width) {
    const uint16_t* from = sums + size_t{x_.first(i) - from_} * channels;
    uint32_t sum[channels] = {};
    for (uint32_t k = 0; k < width; k++) {
      for (uint32_t c = 0; c < channels; c++) sum[c] += uint32_t{weights[k]} * from[k * channels + c];
    }
    for (int c = 0; c < channels; c++) out(i, c, sum[c]);
  }
}

template <int channels, typename Out>
void Resampler::across(Out out) {
  switch (x_.width()) {
    case 2: return weigh<channels, 2>(out);
    case 3: return weigh<channels, 3>(out);
    case 4: return weigh<channels, 4>(out);
    case 5: return weigh<channels, 5>(out);
    case 8: return weigh<channels, 8>(out);
    default: return weigh<channels, 0>(out);
  }
}

static inline uint8_t rounded(uint32_t sum) { return static_cast<uint8_t>((sum + 32768) >> 16); }

void Resampler::bytes(uint8_t* const* out) {
  const uint16_t* __restrict sums = sums_.as<uint16_t>();
  const uint32_t count = x_.count();
  uint8_t* __restrict first = out[0];
  if (band_.channels == 1) {
    if (!x_.copies()) {
      return across<1>([first](uint32_t i, int, uint32_t sum) { first[i] = rounded(sum); });
    }
    for (uint32_t i = 0; i < count; i++) first[i] = static_cast<uint8_t>((sums[i] + 128) >> 8);
    return;
  }
  uint8_t* __restrict second = out[1];
  if (!x_.copies()) {
    return across<2>([first, second](uint32_t i, int c, uint32_t sum) {
      (c ? second : first)[i] = rounded(sum);
    });
  }
  for (uint32_t i = 0; i < count; i++) {
    first[i] = static_cast<uint8_t>((sums[2 * i] + 128) >> 8);
    second[i] = static_cast<uint8_t>((sums[2 * i + 1] + 128) >> 8);
  }
}

void Resampler::floats(float* const* out) {
  const auto put = [out](uint32_t i, int c, uint32_t sum) {
    out[c][i] = static_cast<float>(static_cast<int32_t>(sum)) * (1.0f / 65536);
  };
  if (band_.channels == 1) across<1>(put);
  else if (band_.channels == 2) across<2>(put);
  else across<3>(put);
}

void Resampler::triples(uint8_t* out) {
  if (x_.copies()) {
    const uint16_t* __restrict sums = sums_.as<uint16_t>();
    const uint32_t count = 3 * x_.count();
    for (uint32_t i = 0; i < count; i++) out[i] = static_cast<uint8_t>((sums[i] + 128) >> 8);
    return;
  }
  across<3>([out](uint32_t i, int c, uint32_t sum) {
    out[3 * i + static_cast<uint32_t>(c)] = rounded(sum);
  });
}

}  // namespace pixels
