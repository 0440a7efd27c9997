#include "puppet.h"

#include <algorithm>
#include <cmath>
#include <linux/videodev2.h>
#include <vector>

#include "convert.h"
#include "fake.h"
#include "reader.h"

namespace camera {
namespace {

using Info = Napi::CallbackInfo;
using fake::Camera;

bool flag(const Napi::Value& object, const char* name, bool otherwise) {
  if (!object.IsObject() || !object.As<Napi::Object>().Has(name)) return otherwise;
  return object.As<Napi::Object>().Get(name).ToBoolean();
}

template <typename Each>
void each(const Napi::Value& object, const char* name, Each visit) {
  const Napi::Value value = object.As<Napi::Object>().Get(name);
  if (!value.IsArray()) return;
  const Napi::Array array = value.As<Napi::Array>();
  for (uint32_t index = 0; index < array.Length(); index++) visit(Napi::Value(array.Get(index)));
}

Interval intervalOf(double fps) {
  if (fps == std::floor(fps)) return {1, static_cast<uint32_t>(fps)};
  return {1000, static_cast<uint32_t>(std::lround(fps * 1000))};
}

Format formatOf(const Napi::Value& value) {
  Format format;
  format.fourcc = fourccOf(string(value, "format"));
  format.description = string(value, "format");
  each(value, "sizes", [&](const Napi::Value& entry) {
    Size size;
    size.width = whole(entry, "width", 0);
    size.height = whole(entry, "height", 0);
    size.leastWidth = whole(entry, "leastWidth", 0);
    size.leastHeight = whole(entry, "leastHeight", 0);
    size.stepwise = size.leastWidth > 0;
    size.stepWidth = whole(entry, "stepWidth", 1);
    size.stepHeight = whole(entry, "stepHeight", 1);
    size.rateStepwise = flag(entry, "rateStepwise", false);
    each(entry, "rates", [&](const Napi::Value& rate) {
      size.intervals.push_back(intervalOf(rate.ToNumber()));
    });
    format.sizes.push_back(size);
  });
  return format;
}

uint32_t capabilitiesOf(const std::string& kind) {
  if (kind == "output") return V4L2_CAP_VIDEO_OUTPUT | V4L2_CAP_STREAMING;
  if (kind == "multiplanar") return V4L2_CAP_VIDEO_CAPTURE_MPLANE | V4L2_CAP_STREAMING;
  if (kind == "pipeline") return V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING | 0x20000000;
  if (kind == "read") return V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_READWRITE;
  return V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
}

std::shared_ptr<Camera> cameraOf(const Napi::Value& value) {
  auto camera = std::make_shared<Camera>();
  Device& device = camera->device;
  device.node = {string(value, "path"), string(value, "byId"), string(value, "byPath")};
  device.card = string(value, "card");
  device.driver = string(value, "driver");
  device.bus = string(value, "bus");
  camera->capabilities = capabilitiesOf(string(value, "kind"));
  camera->wishedBuffers = whole(value, "buffers", 32);
  if (string(value, "personality") == "libcamera") camera->personality = fake::Personality::libcamera;
  each(value, "formats", [&](const Napi::Value& entry) { device.formats.push_back(formatOf(entry)); });
  uint32_t id = V4L2_CID_BASE;
  each(value, "controls", [&](const Napi::Value& entry) {
    static const char* const types[] = {"integer", "boolean", "menu"};
    Control control;
    control.id = id++;
    control.name = string(entry, "name");
    for (const char* type : types) {
      if (string(entry, "type") == type) control.type = type;
    }
    control.least = whole(entry, "least", 0);
    control.most = whole(entry, "most", 100);
    control.standard = control.value = static_cast<int32_t>(whole(entry, "standard", 0));
    control.writable = flag(entry, "writable", true);
    int64_t item = 0;
    each(entry, "menu", [&](const Napi::Value& name) {
      control.menu.emplace_back(item++, name.ToString().Utf8Value());
    });
    camera->controls.push_back(control);
  });
  return camera;
}

// Calls `act` with the camera named by the first argument; false when there is none.
template <typename Act>
Napi::Value with(const Info& info, Act act) {
  std::lock_guard<std::mutex> hold(fake::world().mutex);
  const auto camera = fake::find(info[0].ToString());
  if (!camera) return Napi::Boolean::New(info.Env(), false);
  act(*camera);
  fake::world().wake.notify_all();
  return Napi::Boolean::New(info.Env(), true);
}

Napi::Value plug(const Info& info) {
  const auto camera = cameraOf(info[0]);
  std::lock_guard<std::mutex> hold(fake::world().mutex);
  auto& all = fake::world().cameras;
  if (const auto old = fake::find(camera->device.node.path)) {
    fake::pull(*old);
    all.erase(std::find(all.begin(), all.end(), old));
  }
  all.push_back(camera);
  return info.Env().Undefined();
}

Napi::Value unplug(const Info& info) {
  return with(info, [](Camera& camera) { fake::pull(camera); });
}

// The same camera again, under another node when a second argument names one.
Napi::Value replug(const Info& info) {
  return with(info, [&](Camera& camera) {
    camera.plugged = true;
    if (info[1].IsString()) camera.device.node.path = info[1].ToString();
    for (Control& control : camera.controls) control.value = static_cast<int32_t>(control.standard);
  });
}

Napi::Value fail(const Info& info) {
  return with(info, [&](Camera& camera) {
    const std::string name = info[2].ToString();
    int code = 1;
    while (code < 200 && errnoName(code) != name) code++;
    camera.faults.push_back({info[1].ToString(), code, whole(info[3], "after", 0),
                             whole(info[3], "times", 1)});
  });
}

Napi::Value behave(const Info& info) {
  return with(info, [&](Camera& camera) {
    fake::Behaviour& behaviour = camera.behaviour;
    const Napi::Value fps =
        info[1].IsObject() ? info[1].As<Napi::Object>().Get("fps") : info.Env().Undefined();
    if (fps.IsNumber()) behaviour.fps = fps.As<Napi::Number>().DoubleValue();
    behaviour.stalled = flag(info[1], "stalled", behaviour.stalled);
    behaviour.monotonic = flag(info[1], "monotonic", behaviour.monotonic);
    behaviour.errorEvery = whole(info[1], "errorEvery", behaviour.errorEvery);
    behaviour.quantization = whole(info[1], "quantization", behaviour.quantization);
    behaviour.bytesUsed =
        static_cast<int64_t>(number(info[1], "bytesUsed", static_cast<double>(behaviour.bytesUsed)));
    const std::string answer = string(info[1], "answerFormat");
    if (!answer.empty()) behaviour.answerFourcc = fourccOf(answer);
    camera.due = std::chrono::steady_clock::now();
    fake::refill(camera);
  });
}

Napi::Value feed(const Info& info) {
  return with(info, [&](Camera& camera) {
    camera.pictures.clear();
    for (fake::Buffer& buffer : camera.buffers) buffer.holds = -1;
    const Napi::Array pictures = info[1].As<Napi::Array>();
    for (uint32_t index = 0; index < pictures.Length(); index++) {
      const auto bytes = Napi::Value(pictures.Get(index)).As<Napi::Uint8Array>();
      camera.pictures.emplace_back(bytes.Data(), bytes.Data() + bytes.ByteLength());
    }
    fake::refill(camera);
  });
}

// True when a buffer was free for it.
Napi::Value push(const Info& info) {
  bool stored = false;
  with(info, [&](Camera& camera) {
    fake::Push push;
    push.picture = static_cast<int>(number(info[1], "picture", -1));
    push.error = flag(info[1], "error", false);
    push.bytesUsed = static_cast<int64_t>(number(info[1], "bytesUsed", -1));
    push.skip = whole(info[1], "skip", 0);
    push.stampUs = static_cast<int64_t>(number(info[1], "stampUs", -1));
    push.index = static_cast<int>(number(info[1], "index", -1));
    stored = fake::produce(camera, push);
  });
  return Napi::Boolean::New(info.Env(), stored);
}

Napi::Value state(const Info& info) {
  Napi::Env env = info.Env();
  Napi::Object object = Napi::Object::New(env);
  with(info, [&](Camera& camera) {
    double opens = 0;
    for (const auto& [fd, open] : fake::world().opens) opens += open.camera.get() == &camera;
    object.Set("opens", opens);
    object.Set("mapped", static_cast<double>(camera.mapped));
    object.Set("streaming", camera.streaming);
    object.Set("queued", static_cast<double>(camera.queued.size()));
    object.Set("format", camera.fourcc ? fourccName(camera.fourcc) : "");
    object.Set("width", camera.width);
    object.Set("height", camera.height);
    object.Set("fps", camera.interval.fps());
    Napi::Object calls = Napi::Object::New(env), controls = Napi::Object::New(env);
    for (const auto& [name, count] : camera.calls) calls.Set(name, count);
    for (const Control& control : camera.controls) controls.Set(control.name, control.value);
    object.Set("calls", calls);
    object.Set("controls", controls);
  });
  return object;
}

// What a bare reader in C needs for so many pictures.
Napi::Value read(const Info& info) {
  Napi::Env env = info.Env();
  Reading reading;
  reading.width = whole(info[1], "width", 0);
  reading.height = whole(info[1], "height", 0);
  reading.fourcc = fourccOf(string(info[1], "format"));
  reading.pictures = whole(info[1], "pictures", 0);
  if (const Error error = readBare(info[0].ToString(), &reading)) {
    napi_throw(env, toJs(env, error));
    return env.Undefined();
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("cpuUs", reading.cpuUs);
  object.Set("bytes", static_cast<double>(reading.bytes));
  return object;
}

Napi::Value reset(const Info& info) {
  std::lock_guard<std::mutex> hold(fake::world().mutex);
  for (const auto& camera : fake::world().cameras) fake::pull(*camera);
  fake::world().cameras.clear();
  return info.Env().Undefined();
}

}  // namespace

Napi::Object puppet(Napi::Env env) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("plug", Napi::Function::New<plug>(env));
  object.Set("unplug", Napi::Function::New<unplug>(env));
  object.Set("replug", Napi::Function::New<replug>(env));
  object.Set("fail", Napi::Function::New<fail>(env));
  object.Set("behave", Napi::Function::New<behave>(env));
  object.Set("feed", Napi::Function::New<feed>(env));
  object.Set("push", Napi::Function::New<push>(env));
  object.Set("state", Napi::Function::New<state>(env));
  object.Set("read", Napi::Function::New<read>(env));
  object.Set("reset", Napi::Function::New<reset>(env));
  return object;
}

}  // namespace camera
