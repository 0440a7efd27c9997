// A picture as planes of samples that can be averaged, whatever its format, and the way they turn.
#pragma once

#include "pixels.h"

namespace pixels {

// Bytes that grow and are kept. What lay in them is lost when they grow.
class Buffer {
 public:
  Buffer() = default;
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  bool reserve(size_t bytes);
  size_t bytes() const { return bytes_; }
  template <typename T = uint8_t>
  T* as() { return reinterpret_cast<T*>(data_); }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// The upright picture's axes seen from the stored one: first swapped, then counted from the end.
struct Axes {
  bool swap, reverseX, reverseY;  // reverse: along the *stored* axis
};
bool axesOf(Turn, Axes*);
Box toStored(Box upright, const Axes&, uint32_t storedWidth, uint32_t storedHeight);

// Where sample (i, j) of a stored-order plane of width × height lies in the upright one.
struct Walk {
  ptrdiff_t start, dx, dy;
};
Walk walkOf(const Axes&, uint32_t width, uint32_t height, ptrdiff_t uprightStride);

// Samples that lie side by side in memory: one or more channels, taken from bytes or from the low
// or high half of each pair of bytes (YUYV: grey low, colour high).
struct Band {
  enum Kind { bytes, low, high } kind;
  int channels;
  const uint8_t* data;
  size_t stride;
  uint32_t width, height;         // samples of one channel
  double perX, perY, left, top;   // sample coordinate = stored picture coordinate * per - left/top
};

struct View {
  enum Colour { grey, ycc, rgb } colour;
  bool full;
  int bands;
  Band band[3];  // grey; or grey and colour pairs; or grey, blue and red; or RGB triples
};

// Bytes in a line, and in all, that a raw picture needs; 0 when the format is none of the raw ones.
size_t lineBytes(uint32_t fourcc, uint32_t width);
size_t rawBytes(const Picture&);
Status checkSize(uint32_t width, uint32_t height);
Status checkRaw(const Picture&);
View viewOf(const Picture& raw);

}  // namespace pixels
