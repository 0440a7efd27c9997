// One open, streaming camera: formats are set, buffers mapped and queued. Knows nothing of N-API.
//
// `open` and `close` talk to the device for as long as it likes (a dead USB camera: seconds), so
// they run on the pixel thread; `take` only ever copies and runs on the grabber's. Never two at once.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "choice.h"
#include "slab.h"

namespace camera {

// What was configured.
struct Mode {
  std::string source, path, card, driver;  // source: the stable name
  Label label;
  size_t pictureBytes = 0;  // the most that one picture takes
  double fps = 0;           // 0: unknown
};

struct Taken {
  Slab::Handle handle = 0;
  uint32_t sequence = 0, dropped = 0;
  uint64_t capturedUs = 0;
  size_t length = 0;
  bool corrupt = false;
};

enum class Took {
  picture,
  nothing,  // no buffer is ready
  lost,     // a picture was there, the slab had no room; counted in the next one's `dropped`
  ended,    // the stream is over, `error` says why
};

class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { close(); }

  // On failure everything is closed again.
  Error open(const std::string& source, const Wish& wish);

  // From every half-open state, and twice.
  void close();

  // Takes the next picture: copies `bytesused` bytes and gives the buffer back at once, in index
  // order. A slot gets `slack` bytes more than the picture for what may be written there later.
  Took take(Slab& slab, size_t slack, Taken* out, Error* error);

  int fd() const { return fd_; }
  const Mode& mode() const { return mode_; }

 private:
  struct Buffer {
    void* start;
    size_t length;
  };

  Error setFormat(const Choice& choice);
  void setRate(const Choice& choice, double wished);
  Error mapBuffers();
  Error start();
  bool queue(uint32_t index);
  size_t pictureLength(const Buffer& buffer, size_t bytesUsed, bool* corrupt) const;
  uint64_t stampOf(uint32_t flags, uint64_t driverUs);
  uint32_t countDropped(uint32_t sequence);

  int fd_ = -1;
  bool requested_ = false, streaming_ = false;
  Mode mode_;
  std::vector<Buffer> buffers_;
  bool seen_ = false;
  uint32_t lastSequence_ = 0, lost_ = 0;
  uint64_t lastUs_ = 0;
};

}  // namespace camera
