// One bounded region for every picture. It never grows: when it is full, the picture is lost and
// counted. Safe to use from the loop's thread and the pixel thread at once.
//
// Pages are locked (no swap) and left out of core dumps. A slot's bytes are not wiped when it is
// released: a later picture overwrites them, no handle can reach beyond the bytes written for it,
// and the kernel wipes the region after `close`. Wiping would cost a raw frame's memory bandwidth
// again, and whoever can read this memory can read the pictures to come as well. What must not
// outlive its moment, bytes from before a mask was burnt, is wiped (`trim`, `erase`).
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "error.h"

namespace camera {

// What the bytes of a slot show.
struct Label {
  uint32_t fourcc = 0, width = 0, height = 0, stride = 0;
  bool full = false;     // luma runs 0..255 instead of 16..235
  bool upright = false;  // rotation and flip are in the bytes already
};

class Slab {
 public:
  // Generation and index of a slot, below 2^53 so that JavaScript holds it exactly; 0 is none.
  using Handle = uint64_t;
  struct View {
    uint8_t* data = nullptr;
    size_t length = 0, capacity = 0;
    Label label;
  };
  struct Usage {
    size_t bytes = 0, usedBytes = 0, frames = 0, largestFree = 0;
  };

  static constexpr size_t slots = 4096, grain = 64, smallest = 64 * 1024, largest = 1u << 30;

  Slab() = default;
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab() { close(); }

  // Maps the region. `warning` says why it could not be locked, else stays empty.
  Error open(size_t bytes, std::string* warning);

  // Every handle is stale from here on. May be called twice.
  void close();

  // A slot for `length` bytes with one reference, or 0 when there is no room.
  Handle take(size_t length, const Label& label);

  bool retain(Handle handle);   // false: stale
  bool release(Handle handle);  // false: stale

  // Where the bytes lie. Valid while the caller holds a reference. False: stale.
  bool view(Handle handle, View* out);

  // Shortens a slot: gives the rest back, and wipes it up to what was written before. Only for the
  // slot's one holder, before anyone else has seen it.
  bool trim(Handle handle, size_t length);

  // Wipes the slot's bytes, then releases it.
  bool erase(Handle handle);

  Usage usage();

 private:
  struct Slot {
    uint64_t generation = 1;
    uint32_t references = 0;
    size_t offset = 0, length = 0, capacity = 0;
    Label label;
  };
  struct Hole {
    size_t offset, length;
  };

  Slot* find(Handle handle);
  void giveBack(size_t offset, size_t length);
  bool drop(Slot* slot);

  std::mutex mutex_;
  uint8_t* base_ = nullptr;
  size_t bytes_ = 0, usedBytes_ = 0, used_ = 0;
  std::vector<Slot> table_;
  std::vector<uint16_t> spare_;
  std::vector<Hole> holes_;  // by offset, never touching each other
};

}  // namespace camera
