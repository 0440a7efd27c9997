// What the pixel thread makes of a picture: a part of the class Capture.
#include "capture.h"

#include <cmath>
#include <cstring>

namespace camera {
namespace {

// The crop of `options`, or the whole upright picture. What lies outside is refused by pixels.
pixels::Box cropOf(const Napi::Value& options, const Label& label, const pixels::Turn& turn) {
  const bool swap = turn.rotate % 180 != 0;
  const int width = static_cast<int>(swap ? label.height : label.width);
  const int height = static_cast<int>(swap ? label.width : label.height);
  if (!options.IsObject()) return {0, 0, width, height};
  const Napi::Value crop = options.As<Napi::Object>().Get("crop");
  if (!crop.IsObject()) return {0, 0, width, height};
  const auto at = [&](const char* name) {
    const double value = number(crop, name, -1);
    return value >= 0 && value <= INT32_MAX ? static_cast<int>(std::lround(value)) : -1;
  };
  return {at("x"), at("y"), at("width"), at("height")};
}

bool triple(const Napi::Value& spec, const char* name, float* out) {
  if (!spec.IsObject()) return false;
  const Napi::Value value = spec.As<Napi::Object>().Get(name);
  if (!value.IsArray() || value.As<Napi::Array>().Length() != 3) return false;
  for (uint32_t index = 0; index < 3; index++) {
    const Napi::Value entry = value.As<Napi::Array>().Get(index);
    if (!entry.IsNumber()) return false;
    out[index] = entry.As<Napi::Number>().FloatValue();
    if (!std::isfinite(out[index])) return false;
  }
  return true;
}

}  // namespace

// What a job on the pixel thread works with. The slot is held until the job is finished.
struct Capture::Pixel {
  Slab::View view;
  pixels::Turn turn;
  pixels::Box crop;  // of the upright picture
  pixels::Picture picture;
  pixels::Scratch& scratch;
};

Napi::Value Capture::pixelJob(const Info& info, const char* what,
                              std::function<Error(Pixel&)> run,
                              std::function<Napi::Value(Napi::Env)> result) {
  auto deferred = Napi::Promise::Deferred::New(env_);
  const Slab::Handle handle = handleOf(info[0]);
  Slab::View view;
  Error early;
  if (closing_ || !slab_.view(handle, &view) || !slab_.retain(handle)) early = stale();
  if (early) {
    deferred.Reject(toJs(env_, early));
    return deferred.Promise();
  }
  const pixels::Turn turn = view.label.upright ? pixels::Turn{0, false} : turn_;
  // A handle is never given twice, and nobody has it before its bytes are final.
  pixels::Picture picture = pictureOf(view);
  picture.identity = handle;
  picture.finest = number(info[1], "finest", 0);
  const pixels::Box crop = cropOf(info[1], view.label, turn);
  auto error = std::make_shared<Error>();
  Job job{[this, view, turn, crop, picture, run, error] {
            Pixel pixel{view, turn, crop, picture, *pixelScratch_};
            *error = run(pixel);
          },
          [this, handle, deferred, error, result](bool ran) {
            slab_.release(handle);
            if (!ran) *error = stale();
            if (*error) {
              deferred.Reject(toJs(env_, *error));
            } else {
              deferred.Resolve(result(env_));
            }
          },
          true};
  if (!post(std::move(job))) {
    slab_.release(handle);
    early.kind = Kind::busy;
    early.message = std::string(what) + ": too much waits for the pixel thread";
    deferred.Reject(toJs(env_, early));
  }
  return deferred.Promise();
}

Napi::Value Capture::luma(const Info& info) {
  const uint32_t width = whole(info[1], "width", 0), height = whole(info[1], "height", 0);
  auto out = std::make_shared<std::vector<uint8_t>>();
  return pixelJob(
      info, "luma",
      [out, width, height](Pixel& pixel) {
        if (width == 0 || height == 0 || width > 16384 || height > 16384) {
          return misuse("luma: a size from 1 to 16384");
        }
        out->resize(size_t{width} * height);
        return pixelError(pixels::luma(pixel.picture, pixel.turn, width, height, out->data(),
                                       pixel.scratch),
                          "luma", pixel.scratch);
      },
      [out](Napi::Env env) -> Napi::Value {
        return Napi::Buffer<uint8_t>::Copy(env, out->data(), out->size());
      });
}

Napi::Value Capture::tensor(const Info& info) {
  const Napi::Value spec = info[1];
  const uint32_t width = whole(spec, "width", 0), height = whole(spec, "height", 0);
  pixels::TensorSpec wanted = {string(spec, "order") == "BGR", {0, 0, 0}, {1, 1, 1}, 0};
  wanted.pad = static_cast<float>(number(spec, "pad", 0));
  bool sound = triple(spec, "mean", wanted.mean) && triple(spec, "deviation", wanted.deviation);
  // Written here and copied when done: JavaScript may hand its buffer away meanwhile.
  struct Result {
    std::unique_ptr<float[]> data;  // a vector would be filled with zeros first
    pixels::Mapping mapping = {1, 0, 0};
    Napi::Reference<Napi::Float32Array> into;
  };
  auto result = std::make_shared<Result>();
  const Napi::Value into =
      spec.IsObject() ? spec.As<Napi::Object>().Get("into") : env_.Undefined();
  if (into.IsTypedArray()) {
    const auto array = into.As<Napi::TypedArray>();
    sound = sound && array.TypedArrayType() == napi_float32_array &&
            array.ElementLength() == size_t{3} * width * height;
    if (sound) result->into = Napi::Persistent(into.As<Napi::Float32Array>());
  }
  return pixelJob(
      info, "tensor",
      [=](Pixel& pixel) {
        if (!sound || width == 0 || height == 0 || width > 4096 || height > 4096) {
          return misuse("tensor: three means, three deviations other than 0, a size from 1 to 4096 "
                        "and, if given, an array of just that size");
        }
        result->data.reset(new float[size_t{3} * width * height]);
        return pixelError(pixels::tensor(pixel.picture, pixel.turn, pixel.crop, width, height,
                                         wanted, result->data.get(), &result->mapping,
                                         pixel.scratch),
                          "tensor", pixel.scratch);
      },
      [result, width, height](Napi::Env env) -> Napi::Value {
        const size_t count = size_t{3} * width * height;
        Napi::Float32Array data = result->into.IsEmpty() ? Napi::Float32Array::New(env, count)
                                                         : result->into.Value();
        // An array that was transferred away has become one of length 0.
        if (data.ElementLength() == count) {
          std::memcpy(data.Data(), result->data.get(), count * sizeof(float));
        }
        Napi::Object object = Napi::Object::New(env);
        object.Set("data", data);
        object.Set("scale", result->mapping.scale);
        object.Set("offsetX", result->mapping.offsetX);
        object.Set("offsetY", result->mapping.offsetY);
        return object;
      });
}

Napi::Value Capture::jpeg(const Info& info) {
  const double quality = number(info[1], "quality", 0);
  const uint32_t maxWidth = whole(info[1], "maxWidth", 0);
  struct Result {
    Taken taken;
    Label label;
  };
  auto result = std::make_shared<Result>();
  return pixelJob(
      info, "jpeg",
      [=](Pixel& pixel) {
        // Encoded beside the slab first: only then is its length known, and a slot fits it exactly.
        const size_t room = size_t{pixel.view.label.width} * pixel.view.label.height * 2 + 65536;
        if (room > encodedBytes_) {
          encoded_.reset(new uint8_t[room]);
          encodedBytes_ = room;
        }
        Label& label = result->label;
        label.fourcc = pixels::MJPG;
        label.upright = true;
        size_t length = 0;
        const pixels::Status status = pixels::jpeg(
            pixel.picture, pixel.turn, pixel.crop, maxWidth, static_cast<int>(quality),
            encoded_.get(), encodedBytes_, &length, &label.width, &label.height, pixel.scratch);
        if (Error error = pixelError(status, "jpeg", pixel.scratch)) return error;
        result->taken.length = length;
        result->taken.handle = slab_.take(length, label);
        Slab::View view;
        if (!result->taken.handle || !slab_.view(result->taken.handle, &view)) {
          Error error;
          error.kind = Kind::full;
          error.message = "the slab has no room for a picture of " + std::to_string(length) + " bytes";
          return error;
        }
        std::memcpy(view.data, encoded_.get(), length);
        return Error{};
      },
      [this, result](Napi::Env) -> Napi::Value { return describe(result->taken, result->label); });
}

}  // namespace camera
