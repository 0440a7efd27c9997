#include "slab.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>

namespace camera {
namespace {

constexpr int indexBits = 16;
constexpr uint64_t generations = uint64_t{1} << (53 - indexBits);

size_t rounded(size_t length) { return (length + Slab::grain - 1) / Slab::grain * Slab::grain; }

}  // namespace

Error Slab::open(size_t bytes, std::string* warning) {
  std::lock_guard<std::mutex> hold(mutex_);
  if (base_) return misuse("the slab is open already");
  if (bytes < smallest || bytes > largest) {
    return misuse("a slab holds 64 KiB to 1 GiB, not " + std::to_string(bytes) + " bytes");
  }
  bytes = rounded(bytes);
  void* region =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) {
    Error error;
    error.kind = Kind::full;
    error.call = "mmap";
    error.code = errno;
    error.message = "no memory for a slab of " + std::to_string(bytes >> 20) + " MiB";
    return error;
  }
  madvise(region, bytes, MADV_DONTDUMP);
  madvise(region, bytes, MADV_DONTFORK);
  if (mlock(region, bytes) != 0 && warning) {
    *warning = "plain pictures are not kept out of swap: mlock of " +
               std::to_string(bytes >> 20) + " MiB failed (" + errnoName(errno) +
               "); raise the limit (LimitMEMLOCK in the unit, ulimit -l in a shell)";
  }
  base_ = static_cast<uint8_t*>(region);
  bytes_ = bytes;
  table_.assign(slots, Slot{});
  spare_.clear();
  for (size_t index = slots; index > 0; index--) spare_.push_back(static_cast<uint16_t>(index - 1));
  holes_.reserve(slots + 1);
  holes_.assign(1, Hole{0, bytes});
  return {};
}

void Slab::close() {
  std::lock_guard<std::mutex> hold(mutex_);
  if (!base_) return;
  munmap(base_, bytes_);
  base_ = nullptr;
  bytes_ = usedBytes_ = used_ = 0;
  table_.clear();
  spare_.clear();
  holes_.clear();
}

// First fit by address. Pictures leave in nearly the order they came, so the holes meet and merge;
// what stays long (a thumbnail) settles at the low end.
Slab::Handle Slab::take(size_t length, const Label& label) {
  std::lock_guard<std::mutex> hold(mutex_);
  if (!base_ || length > bytes_ || spare_.empty()) return 0;
  const size_t capacity = rounded(std::max<size_t>(length, 1));
  const auto hole = std::find_if(holes_.begin(), holes_.end(),
                                 [&](const Hole& each) { return each.length >= capacity; });
  if (hole == holes_.end()) return 0;
  const uint16_t index = spare_.back();
  spare_.pop_back();
  Slot& slot = table_[index];
  slot.references = 1;
  slot.offset = hole->offset;
  slot.length = length;
  slot.capacity = capacity;
  slot.label = label;
  if (hole->length == capacity) {
    holes_.erase(hole);
  } else {
    hole->offset += capacity;
    hole->length -= capacity;
  }
  usedBytes_ += capacity;
  used_++;
  return slot.generation << indexBits | index;
}

Slab::Slot* Slab::find(Handle handle) {
  const size_t index = handle & ((1u << indexBits) - 1);
  if (index >= table_.size()) return nullptr;
  Slot& slot = table_[index];
  return slot.references > 0 && slot.generation == handle >> indexBits ? &slot : nullptr;
}

bool Slab::retain(Handle handle) {
  std::lock_guard<std::mutex> hold(mutex_);
  Slot* slot = find(handle);
  if (!slot || slot->references == UINT32_MAX) return false;
  slot->references++;
  return true;
}

bool Slab::release(Handle handle) {
  std::lock_guard<std::mutex> hold(mutex_);
  Slot* slot = find(handle);
  return slot && drop(slot);
}

bool Slab::erase(Handle handle) {
  std::lock_guard<std::mutex> hold(mutex_);
  Slot* slot = find(handle);
  if (!slot) return false;
  std::memset(base_ + slot->offset, 0, slot->capacity);
  return drop(slot);
}

bool Slab::drop(Slot* slot) {
  if (--slot->references > 0) return true;
  // The next holder of this slot has another handle; 2^37 generations outlast any camera.
  slot->generation = slot->generation + 1 < generations ? slot->generation + 1 : 1;
  usedBytes_ -= slot->capacity;
  used_--;
  spare_.push_back(static_cast<uint16_t>(slot - table_.data()));
  giveBack(slot->offset, slot->capacity);
  return true;
}

void Slab::giveBack(size_t offset, size_t length) {
  auto next = std::lower_bound(holes_.begin(), holes_.end(), offset,
                               [](const Hole& hole, size_t at) { return hole.offset < at; });
  if (next != holes_.begin() && std::prev(next)->offset + std::prev(next)->length == offset) {
    const auto before = std::prev(next);
    before->length += length;
    if (next != holes_.end() && before->offset + before->length == next->offset) {
      before->length += next->length;
      holes_.erase(next);
    }
  } else if (next != holes_.end() && offset + length == next->offset) {
    next->offset = offset;
    next->length += length;
  } else {
    holes_.insert(next, Hole{offset, length});
  }
}

bool Slab::view(Handle handle, View* out) {
  std::lock_guard<std::mutex> hold(mutex_);
  const Slot* slot = find(handle);
  if (!slot) return false;
  *out = View{base_ + slot->offset, slot->length, slot->capacity, slot->label};
  return true;
}

bool Slab::trim(Handle handle, size_t length) {
  std::lock_guard<std::mutex> hold(mutex_);
  Slot* slot = find(handle);
  if (!slot || length > slot->capacity) return false;
  std::memset(base_ + slot->offset + length, 0, slot->capacity - length);
  const size_t capacity = rounded(std::max<size_t>(length, 1));
  if (capacity < slot->capacity) {
    giveBack(slot->offset + capacity, slot->capacity - capacity);
    usedBytes_ -= slot->capacity - capacity;
    slot->capacity = capacity;
  }
  slot->length = length;
  return true;
}

Slab::Usage Slab::usage() {
  std::lock_guard<std::mutex> hold(mutex_);
  Usage usage{bytes_, usedBytes_, used_, 0};
  for (const Hole& hole : holes_) usage.largestFree = std::max(usage.largestFree, hole.length);
  return usage;
}

}  // namespace camera
