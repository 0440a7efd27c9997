// The module: the class Capture and the list of cameras; in the fake variant also its strings.
#include <malloc.h>
#include <napi.h>

#include "capture.h"
#ifdef CAMERA_FAKE
#include "puppet.h"
#endif

namespace camera {
namespace {

// Opens each node for a moment, which can take its time: on one of libuv's threads.
class ListWork : public Napi::AsyncWorker {
 public:
  explicit ListWork(Napi::Env env)
      : Napi::AsyncWorker(env, "obscura:list"), deferred_(Napi::Promise::Deferred::New(env)) {}

  Napi::Promise promise() { return deferred_.Promise(); }

 protected:
  void Execute() override { devices_ = listDevices(); }

  void OnOK() override {
    Napi::Array array = Napi::Array::New(Env(), devices_.size());
    for (uint32_t index = 0; index < devices_.size(); index++) {
      array.Set(index, toJs(Env(), devices_[index]));
    }
    deferred_.Resolve(array);
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::vector<Device> devices_;
};

Napi::Value list(const Napi::CallbackInfo& info) {
  auto* work = new ListWork(info.Env());  // deletes itself
  const Napi::Promise promise = work->promise();
  work->Queue();
  return promise;
}

constexpr int mappedBytes = 64 * 1024;
constexpr int keptBytes = 128 * 1024;

// Left to itself glibc maps nothing by itself any more that is no larger than what was freed once,
// keeps what lies free between two things that do not, and opens an arena for each thread.
Napi::Value trim(const Napi::CallbackInfo& info) {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, mappedBytes);
  mallopt(M_TRIM_THRESHOLD, keptBytes);
  malloc_trim(0);
  return info.Env().Undefined();
}

Napi::Object load(Napi::Env env, Napi::Object exports) {
  exports.Set("Capture", Capture::define(env));
  exports.Set("list", Napi::Function::New<list>(env, "list"));
  exports.Set("trim", Napi::Function::New<trim>(env, "trim"));
#ifdef CAMERA_FAKE
  exports.Set("fake", puppet(env));
#endif
  return exports;
}

}  // namespace
}  // namespace camera

static Napi::Object load(Napi::Env env, Napi::Object exports) { return camera::load(env, exports); }

NODE_API_MODULE(v4l2_camera, load)
