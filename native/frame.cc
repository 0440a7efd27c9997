// Pictures on their way into the slab and out of it: a part of the class Capture.
#include "capture.h"

#include <cstring>

namespace camera {

Error Capture::stale() const {
  return closing_ ? gone("the camera is closed, and its slab with it")
                  : misuse("the frame was released");
}

bool Capture::throws(const Error& error) {
  if (error) napi_throw(env_, toJs(env_, error));
  return static_cast<bool>(error);
}

Napi::Object Capture::describe(const Taken& taken, const Label& label) const {
  Napi::Object object = Napi::Object::New(env_);
  object.Set("handle", static_cast<double>(taken.handle));
  object.Set("sequence", taken.sequence);
  object.Set("capturedUs", static_cast<double>(taken.capturedUs));
  object.Set("byteLength", static_cast<double>(taken.length));
  object.Set("corrupt", taken.corrupt);
  object.Set("dropped", taken.dropped);
  object.Set("format", fourccName(label.fourcc));
  object.Set("width", label.width);
  object.Set("height", label.height);
  object.Set("upright", label.upright);
  return object;
}

// A picture from the camera, on the loop. Masks come before anyone sees it: at once for raw
// formats, on the pixel thread for JPEG, which delivers in order because its queue is one.
void Capture::arrived(const Taken& taken) {
  if (masks_.empty()) return deliver(taken);
  const auto masked = [this](Taken taken, const Error& error) {
    if (error) {
      // Not to be shown to anyone: neither what lies under the mask, nor that it was there.
      slab_.erase(taken.handle);
      taken.handle = 0;
      taken.length = 0;
      taken.corrupt = true;
    }
    deliver(taken);
  };
  if (stream_.mode().label.fourcc != pixels::MJPG) {
    return masked(taken, burn(taken.handle, taken.length, *loopScratch_, nullptr));
  }
  auto error = std::make_shared<Error>();
  auto length = std::make_shared<size_t>(taken.length);
  const uint32_t number = streamNumber_;
  const bool posted = post({[this, taken, error, length] {
                              *error = burn(taken.handle, taken.length, *pixelScratch_,
                                            length.get());
                            },
                            [this, taken, error, length, number, masked](bool ran) {
                              if (!ran || number != streamNumber_ || state_ != State::streaming) {
                                slab_.erase(taken.handle);
                                return;
                              }
                              Taken shown = taken;
                              shown.length = *length;
                              shown.dropped += std::exchange(lost_, 0);
                              masked(shown, *error);
                            },
                            true});
  if (posted) return;
  slab_.erase(taken.handle);
  lost_ += taken.dropped + 1;
}

// Burns the masks into a slot and gives back what it then has too much.
Error Capture::burn(Slab::Handle handle, size_t length, pixels::Scratch& scratch, size_t* out) {
  Slab::View view;
  if (!slab_.view(handle, &view)) return stale();
  view.length = length;
  const pixels::Status status = pixels::mask(view.data, &length, view.capacity, pictureOf(view),
                                             turn_, masks_, scratch);
  if (Error error = pixelError(status, "mask", scratch)) return error;
  slab_.trim(handle, length);
  if (out) *out = length;
  return {};
}

void Capture::deliver(const Taken& taken) {
  Napi::HandleScope scope(env_);
  report(onFrame_.Value(), {describe(taken, stream_.mode().label)});
}

Napi::Value Capture::put(const Info& info) {
  if (closing_) return throws(stale()), env_.Undefined();
  if (!info[0].IsTypedArray()) return throws(misuse("put takes bytes")), env_.Undefined();
  const Napi::TypedArray array = info[0].As<Napi::TypedArray>();
  const auto* bytes = static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
  Taken taken;
  taken.length = array.ByteLength();
  taken.sequence = whole(info[1], "sequence", 0);
  taken.capturedUs = static_cast<uint64_t>(number(info[1], "capturedUs", 0));
  Label label;
  label.fourcc = fourccOf(string(info[1], "format"));
  label.width = whole(info[1], "width", 0);
  label.height = whole(info[1], "height", 0);
  label.full = label.fourcc == pixels::GREY;
  const bool masked = !masks_.empty();
  taken.handle = slab_.take(
      taken.length + (masked && label.fourcc == pixels::MJPG ? taken.length / 8 + 4096 : 0), label);
  if (!taken.handle) {
    Error error;
    error.kind = Kind::full;
    error.message = "the slab has no room for a picture of " + std::to_string(taken.length) + " bytes";
    return throws(error), env_.Undefined();
  }
  Slab::View view;
  slab_.view(taken.handle, &view);
  if (taken.length > 0) std::memcpy(view.data, bytes, taken.length);
  view.length = taken.length;
  Error error = pixelError(pixels::check(pictureOf(view)), "put", *loopScratch_);
  if (!error && masked) error = burn(taken.handle, taken.length, *loopScratch_, &taken.length);
  if (error) {
    slab_.erase(taken.handle);
    return throws(error), env_.Undefined();
  }
  slab_.trim(taken.handle, taken.length);
  return describe(taken, label);
}

Napi::Value Capture::retain(const Info& info) {
  if (closing_ || !slab_.retain(handleOf(info[0]))) throws(stale());
  return env_.Undefined();
}

// Once close was called a release has nothing left to do, and is no mistake.
Napi::Value Capture::release(const Info& info) {
  if (!slab_.release(handleOf(info[0])) && !closing_) throws(stale());
  return env_.Undefined();
}

Napi::Value Capture::copy(const Info& info) {
  Slab::View view;
  if (closing_ || !slab_.view(handleOf(info[0]), &view)) {
    return throws(stale()), env_.Undefined();
  }
  return Napi::Buffer<uint8_t>::Copy(env_, view.data, view.length);
}

Napi::Value Capture::usage(const Info&) {
  const Slab::Usage usage = slab_.usage();
  Napi::Object object = Napi::Object::New(env_);
  object.Set("bytes", static_cast<double>(usage.bytes));
  object.Set("usedBytes", static_cast<double>(usage.usedBytes));
  object.Set("frames", static_cast<double>(usage.frames));
  object.Set("largestFreeBytes", static_cast<double>(usage.largestFree));
  return object;
}

Napi::Value Capture::warning(const Info&) {
  return warning_.empty() ? env_.Undefined() : Napi::String::New(env_, warning_);
}

}  // namespace camera
