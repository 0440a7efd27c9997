// The only class that JavaScript sees: a slab, a pixel thread, and at most one open camera.
//
// States: idle → opening → streaming → stopping → idle …, and closed from each of them. All methods
// run on the thread of their environment's loop. Device calls that may hang run on the pixel
// thread, DQBUF with its copy on the grabber's.
#pragma once
#include <memory>
#include <napi.h>
#include <vector>

#include "convert.h"
#include "grabber.h"
#include "slab.h"
#include "stream.h"
#include "worker.h"

namespace camera {

class Capture : public Napi::ObjectWrap<Capture> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Capture(const Napi::CallbackInfo& info);
  ~Capture();

 private:
  enum class State { idle, opening, streaming, stopping, closed };
  using Info = Napi::CallbackInfo;
  struct Pixel;

  // Camera (capture.cc)
  Napi::Value open(const Info& info);
  Napi::Value stop(const Info& info);
  Napi::Value close(const Info& info);
  Napi::Value controls(const Info& info);
  Napi::Value getControl(const Info& info);
  Napi::Value setControl(const Info& info);
  void opened(const Error& error, Napi::Promise::Deferred deferred);
  void beginStop(const Error* why);
  void stopped();
  void beginClose();
  void finishClose();
  void shutdown();
  void onPictures();
  void onReady();
  bool post(Job job);
  Napi::Value device(const Info& info, std::function<Error()> run,
                     std::function<Napi::Value(Napi::Env)> result);

  // Pictures (frame.cc)
  Napi::Value put(const Info& info);
  Napi::Value retain(const Info& info);
  Napi::Value release(const Info& info);
  Napi::Value copy(const Info& info);
  Napi::Value luma(const Info& info);
  Napi::Value tensor(const Info& info);
  Napi::Value jpeg(const Info& info);
  Napi::Value usage(const Info& info);
  Napi::Value warning(const Info& info);
  Napi::Value pixelJob(const Info& info, const char* what, std::function<Error(Pixel&)> run,
                       std::function<Napi::Value(Napi::Env)> result);
  Napi::Object describe(const Taken& taken, const Label& label) const;
  void arrived(const Taken& taken);
  void deliver(const Taken& taken);
  Error burn(Slab::Handle handle, size_t length, pixels::Scratch& scratch, size_t* out);
  Error stale() const;
  bool throws(const Error& error);
  void report(Napi::Function callback, std::initializer_list<napi_value> values);

  Napi::Env env_;
  std::unique_ptr<Napi::AsyncContext> context_;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  Worker* worker_ = nullptr;   // deletes itself after shutdown
  Grabber* grabber_ = nullptr;  // while streaming and stopping; deletes itself
  Slab slab_;
  Stream stream_;  // the pixel thread's while opening and stopping, else the grabber's
  std::string warning_;
  pixels::Turn turn_ = {0, false};
  pixels::Polygons masks_;
  // One workspace for each thread that decodes.
  std::unique_ptr<pixels::Scratch> pixelScratch_, loopScratch_;
  std::unique_ptr<uint8_t[]> encoded_;  // the pixel thread's
  size_t encodedBytes_ = 0;

  State state_ = State::idle;
  bool closing_ = false;    // close was called
  bool stopAsked_ = false;  // stop was called while opening
  uint32_t streamNumber_ = 0, lost_ = 0;
  int held_ = 0;            // reasons why this object must not be collected
  struct Refusal {
    Napi::Promise::Deferred deferred;
    Error error;
  };
  std::unique_ptr<Refusal> refused_;  // an open that failed
  std::unique_ptr<Error> ended_;      // a stream that did
  Napi::FunctionReference onFrame_, onEnd_;
  std::vector<Napi::Promise::Deferred> stoppers_, closers_;
};

}  // namespace camera
