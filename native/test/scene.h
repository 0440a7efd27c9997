// Pictures for the tests: a scene with edges, slopes and grain, in every format.
#pragma once

#include <cstdint>
#include <vector>

#include "../pixels.h"

namespace scene {

using Bytes = std::vector<uint8_t>;

// Small, fast, the same everywhere.
struct Random {
  uint64_t state;
  explicit Random(uint64_t seed) : state(seed * 2654435761u + 88172645463325252ull) {}
  uint32_t next() {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return static_cast<uint32_t>(state >> 16);
  }
  uint32_t below(uint32_t n) { return n ? next() % n : 0; }
};

// A picture that owns its bytes.
struct Stored {
  Bytes bytes;
  pixels::Picture picture;
  // The samples, each at full size and without any loss: red, green, blue or (ycc) grey, blue, red
  // difference. What naive references start from.
  bool ycc = false, single = false;
  int channels() const { return single ? 1 : 3; }
  double at(uint32_t x, uint32_t y, int channel) const;
};

Bytes rgb(uint32_t width, uint32_t height, uint64_t seed, int grain);
// padding: bytes more than needed in each line, filled with noise. full: quantization.
Stored raw(uint32_t fourcc, uint32_t width, uint32_t height, uint64_t seed, uint32_t padding = 0,
           bool full = false, int grain = 12);

struct JpegKind {
  int quality = 85, across = 2, down = 2;  // sampling of grey against colour
  bool grey = false, progressive = false, arithmetic = false, restart = false;
  bool noTables = false;  // as webcams send them: no DHT
  bool optimised = false;
  bool rgb = false;  // stored as red, green and blue
  Bytes metadata = {};  // an APP1
};
Stored jpeg(uint32_t width, uint32_t height, uint64_t seed, const JpegKind& = {}, int grain = 12);
// Plain libjpeg, nothing of the product's: RGB triples or grey bytes of the whole picture.
bool decode(const uint8_t* data, size_t length, bool grey, int eighths, Bytes* out, uint32_t* width,
            uint32_t* height, bool fancy = false);
// All coefficients, component after component, each with its rows and columns of blocks.
struct Coefficients {
  int unitWidth, unitHeight;
  struct Component {
    uint32_t across, down;  // blocks
    int h, v;
    std::vector<int16_t> values;
  };
  std::vector<Component> components;
  std::vector<uint16_t> tables;
  bool metadata;
};
bool coefficients(const uint8_t* data, size_t length, Coefficients*);

}  // namespace scene
