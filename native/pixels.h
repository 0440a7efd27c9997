// Pictures in, three things out: a small grey plane for motion, the model's input, a JPEG. And
// privacy masks, burnt in before any of these. Knows nothing of Node and nothing of V4L2 but the
// names of its formats. No exceptions; every function may be called from any thread, one at a time
// for each Scratch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace pixels {

constexpr uint32_t fourcc(char a, char b, char c, char d) {
  return static_cast<uint32_t>(static_cast<unsigned char>(a)) |
         static_cast<uint32_t>(static_cast<unsigned char>(b)) << 8 |
         static_cast<uint32_t>(static_cast<unsigned char>(c)) << 16 |
         static_cast<uint32_t>(static_cast<unsigned char>(d)) << 24;
}
constexpr uint32_t MJPG = fourcc('M', 'J', 'P', 'G');
constexpr uint32_t YUYV = fourcc('Y', 'U', 'Y', 'V');
constexpr uint32_t NV12 = fourcc('N', 'V', '1', '2');
constexpr uint32_t RGB3 = fourcc('R', 'G', 'B', '3');
constexpr uint32_t GREY = fourcc('G', 'R', 'E', 'Y');

// A larger picture is refused as `unsupported`, whatever its format.
constexpr uint32_t longestSide = 16384;
constexpr uint64_t mostPixels = uint64_t{1} << 26;

// One picture as the driver delivered it, not yet turned.
struct Picture {
  const uint8_t* data;
  size_t length;    // bytes that may be read
  uint32_t fourcc;  // MJPG, YUYV, NV12, RGB3, GREY
  uint32_t width;   // as stored; for MJPG the size that the JPEG must have
  uint32_t height;
  uint32_t stride;  // bytes from line to line (NV12: of both planes, the second right after the
                    // first); 0: lines without padding. Not looked at for MJPG.
  bool full = false;  // YUYV, NV12, GREY: samples run 0..255, not 16..235 (V4L2's quantization)
  uint64_t identity = 0;  // MJPG: another call with this number brings the same bytes; 0: unknown
  double finest = 0;      // MJPG: fewest pixels under a sample of what else will be asked of them;
                          // above 0: decode once for all of it. 0: for this call alone.
};

// How a stored picture becomes upright: turned clockwise, then mirrored left to right.
struct Turn {
  int rotate;  // 0, 90, 180, 270
  bool flip;
};

// Pixels of the upright picture. Must lie inside it and not be empty, else `misuse`.
struct Box {
  int x, y, width, height;
};

struct Point {
  float x, y;  // 0..1 of the upright picture
};
using Polygons = std::vector<std::vector<Point>>;

enum class Status {
  ok,
  corrupt,      // the bytes are not the picture they claim to be
  unsupported,  // a picture, but of a kind that is not read here (CMYK, arithmetic coding, too large)
  full,         // no room in the output, or no memory
  misuse,       // arguments that no picture can satisfy
};

// What a network wants: value = (raw - mean) / deviation, channels in the network's order.
struct TensorSpec {
  bool bgr;
  float mean[3];
  float deviation[3];
  float pad;  // raw value (0..255) around the letterboxed picture
};

// Back from the tensor to the upright picture: pictureX = (x - offsetX) / scale + crop.x
struct Mapping {
  float scale, offsetX, offsetY;
};

// Workspace of one thread. Grows to what the pictures need, then nothing more is allocated here.
// Holds one decoded JPEG that was to be shared (Picture::finest) until the next of these.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  size_t bytes() const;         // held at the moment, without libjpeg's own
  const char* message() const;  // what libjpeg said of the last picture that was not `ok`; else ""

  struct Inside;
  Inside* inside() { return inside_.get(); }

 private:
  std::unique_ptr<Inside> inside_;
};

// The whole upright picture as width × height grey bytes, without padding: averages of the pixels
// under each. Samples stay in the range in which they came.
Status luma(const Picture&, Turn, uint32_t width, uint32_t height, uint8_t* out, Scratch&);

// The crop, letterboxed centred into float32 [3, height, width].
Status tensor(const Picture&, Turn, Box crop, uint32_t width, uint32_t height, const TensorSpec&,
              float* out, Mapping*, Scratch&);

// The crop as an upright baseline JPEG (4:2:0, or grey), scaled down to at most maxWidth (0: as it
// is), quality 1..100. `full` when `capacity` does not hold it; *length is set only when `ok`.
Status jpeg(const Picture&, Turn, Box crop, uint32_t maxWidth, int quality, uint8_t* out,
            size_t capacity, size_t* length, uint32_t* width, uint32_t* height, Scratch&);

// Burns the polygons into the picture, in place: flat mid-grey, rounded outward to whole pixels
// (YUYV, NV12: to whole chroma samples; MJPG: to whole coding units; all else in a JPEG keeps its
// exact coefficients, and metadata goes, with any thumbnail in it). `data` is where `picture.data`
// points to and may be written up to `capacity`. Unless `ok` is returned, the bytes may still show
// what must not be seen: drop the picture.
Status mask(uint8_t* data, size_t* length, size_t capacity, const Picture&, Turn, const Polygons&,
            Scratch&);

// Cheap and without decoding: could these bytes be the picture they claim? JPEG: starts as one, a
// frame header with the promised size, a scan, an end. Raw: long enough. Not `ok` is the `corrupt`
// flag of a frame.
Status check(const Picture&);

// Size in a JPEG's frame header, for files of any size.
Status probe(const uint8_t* data, size_t length, uint32_t* width, uint32_t* height);

}  // namespace pixels
