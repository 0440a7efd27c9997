#include "convert.h"

#include <cmath>
#include <linux/videodev2.h>

namespace camera {
namespace {

Napi::Value list(Napi::Env env, const std::vector<Interval>& intervals) {
  Napi::Array array = Napi::Array::New(env, intervals.size());
  for (uint32_t index = 0; index < intervals.size(); index++) {
    array.Set(index, Napi::Number::New(env, intervals[index].fps()));
  }
  return array;
}

Napi::Value toJs(Napi::Env env, const Size& size) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("width", size.width);
  object.Set("height", size.height);
  if (size.stepwise) {
    Napi::Object least = Napi::Object::New(env);
    least.Set("width", size.leastWidth);
    least.Set("height", size.leastHeight);
    least.Set("stepWidth", size.stepWidth);
    least.Set("stepHeight", size.stepHeight);
    object.Set("least", least);
  }
  object.Set("rates", list(env, size.intervals));
  object.Set("rateStepwise", size.rateStepwise);
  return object;
}

void setText(Napi::Object object, const char* name, const std::string& text) {
  if (!text.empty()) object.Set(name, text);
}

}  // namespace

Napi::Value toJs(Napi::Env env, const Error& error) {
  Napi::Object object = Napi::Error::New(env, error.message).Value();
  object.Set("kind", kindName(error.kind));
  setText(object, "hint", error.hint);
  setText(object, "syscall", error.call);
  if (error.code) object.Set("errno", errnoName(error.code));
  return object;
}

Napi::Value toJs(Napi::Env env, const Device& device) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("source", device.stable());
  object.Set("path", device.node.path);
  object.Set("card", device.card);
  object.Set("driver", device.driver);
  object.Set("bus", device.bus);
  object.Set("captures", device.captures);
  Napi::Array formats = Napi::Array::New(env, device.formats.size());
  for (uint32_t index = 0; index < device.formats.size(); index++) {
    const Format& format = device.formats[index];
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("format", fourccName(format.fourcc));
    entry.Set("description", format.description);
    entry.Set("usable", isUsable(format.fourcc));
    Napi::Array sizes = Napi::Array::New(env, format.sizes.size());
    for (uint32_t at = 0; at < format.sizes.size(); at++) sizes.Set(at, toJs(env, format.sizes[at]));
    entry.Set("sizes", sizes);
    formats.Set(index, entry);
  }
  object.Set("formats", formats);
  if (device.unusable) object.Set("unusable", toJs(env, device.unusable));
  return object;
}

Napi::Value toJs(Napi::Env env, const Control& control) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", control.name);
  object.Set("type", control.type);
  object.Set("least", static_cast<double>(control.least));
  object.Set("most", static_cast<double>(control.most));
  object.Set("step", static_cast<double>(control.step));
  object.Set("standard", static_cast<double>(control.standard));
  object.Set("value", control.value);
  object.Set("writable", control.writable);
  object.Set("active", control.active);
  Napi::Array menu = Napi::Array::New(env, control.menu.size());
  for (uint32_t index = 0; index < control.menu.size(); index++) {
    Napi::Object item = Napi::Object::New(env);
    item.Set("value", static_cast<double>(control.menu[index].first));
    item.Set("name", control.menu[index].second);
    menu.Set(index, item);
  }
  object.Set("menu", menu);
  return object;
}

Napi::Value toJs(Napi::Env env, const Mode& mode) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("source", mode.source);
  object.Set("path", mode.path);
  object.Set("card", mode.card);
  object.Set("driver", mode.driver);
  object.Set("format", fourccName(mode.label.fourcc));
  object.Set("width", mode.label.width);
  object.Set("height", mode.label.height);
  object.Set("fps", mode.fps);
  return object;
}

Error gone(const char* message) {
  Error error;
  error.kind = Kind::gone;
  error.message = message;
  return error;
}

Napi::Value rejected(Napi::Env env, const Error& error) {
  auto deferred = Napi::Promise::Deferred::New(env);
  deferred.Reject(toJs(env, error));
  return deferred.Promise();
}

Slab::Handle handleOf(const Napi::Value& value) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0;
  return number > 0 && number < 9007199254740992.0 && number == std::floor(number)
             ? static_cast<Slab::Handle>(number)
             : 0;
}

pixels::Picture pictureOf(const Slab::View& view) {
  const Label& label = view.label;
  return {view.data, view.length, label.fourcc, label.width, label.height, label.stride, label.full};
}

Error pixelError(pixels::Status status, const char* what, const pixels::Scratch& scratch) {
  if (status == pixels::Status::ok) return {};
  Error error;
  error.message = what;
  switch (status) {
    case pixels::Status::ok: break;
    case pixels::Status::corrupt:
      error.kind = Kind::corrupt;
      error.message += ": the bytes are not the picture they claim to be";
      break;
    case pixels::Status::unsupported:
      error.kind = Kind::refused;
      error.message += ": this kind of picture is not read here";
      break;
    case pixels::Status::full:
      error.kind = Kind::full;
      error.message += ": no room for the result";
      break;
    case pixels::Status::misuse:
      error.kind = Kind::misuse;
      error.message += ": a size, crop or quality that no picture has";
      break;
  }
  const std::string said = scratch.message();
  if (!said.empty()) error.message += " (" + said + ")";
  return error;
}

double number(const Napi::Value& object, const char* name, double otherwise) {
  if (!object.IsObject()) return otherwise;
  const Napi::Value value = object.As<Napi::Object>().Get(name);
  if (!value.IsNumber()) return otherwise;
  const double got = value.As<Napi::Number>().DoubleValue();
  return std::isfinite(got) ? got : otherwise;
}

uint32_t whole(const Napi::Value& object, const char* name, uint32_t otherwise) {
  const double got = number(object, name, otherwise);
  return got >= 0 && got <= UINT32_MAX && got == std::floor(got) ? static_cast<uint32_t>(got)
                                                                 : otherwise;
}

std::string string(const Napi::Value& object, const char* name) {
  if (!object.IsObject()) return "";
  const Napi::Value value = object.As<Napi::Object>().Get(name);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
}

uint32_t fourccOf(const std::string& name) {
  if (name.size() != 4) return 0;
  return pixels::fourcc(name[0], name[1], name[2], name[3]);
}

bool polygonsOf(const Napi::Value& value, pixels::Polygons* out) {
  if (value.IsUndefined()) return true;
  if (!value.IsArray()) return false;
  const Napi::Array polygons = value.As<Napi::Array>();
  for (uint32_t index = 0; index < polygons.Length(); index++) {
    const Napi::Value entry = polygons.Get(index);
    if (!entry.IsArray()) return false;
    const Napi::Array numbers = entry.As<Napi::Array>();
    const uint32_t count = numbers.Length();
    if (count < 6 || count % 2 != 0) return false;
    std::vector<pixels::Point> polygon;
    for (uint32_t at = 0; at < count; at += 2) {
      const Napi::Value x = numbers.Get(at), y = numbers.Get(at + 1);
      if (!x.IsNumber() || !y.IsNumber()) return false;
      const float px = x.As<Napi::Number>().FloatValue(), py = y.As<Napi::Number>().FloatValue();
      if (!(px >= 0 && px <= 1 && py >= 0 && py <= 1)) return false;
      polygon.push_back({px, py});
    }
    out->push_back(std::move(polygon));
  }
  return true;
}

}  // namespace camera
