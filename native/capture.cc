#include "capture.h"

#include <cerrno>

namespace camera {
namespace {

// What is left of a Capture while libuv closes its handles; they outlive the object.
struct Leaving {
  int handles;
  napi_async_cleanup_hook_handle hook;
};

void left(void* data) {
  auto* leaving = static_cast<Leaving*>(data);
  if (--leaving->handles > 0) return;
  if (leaving->hook) napi_remove_async_cleanup_hook(leaving->hook);
  delete leaving;
}

void forget(void*) {}

}  // namespace

Capture::Capture(const Info& info)
    : Napi::ObjectWrap<Capture>(info),
      env_(info.Env()),
      pixelScratch_(new pixels::Scratch),
      loopScratch_(new pixels::Scratch) {
  const Napi::Value options = info[0];
  const double bytes = number(options, "slabBytes", 0);
  turn_.rotate = static_cast<int>(whole(options, "rotate", 0));
  turn_.flip = options.IsObject() && options.As<Napi::Object>().Get("flip").ToBoolean();
  Error error;
  if (turn_.rotate % 90 != 0 || turn_.rotate > 270) error = misuse("rotate is 0, 90, 180 or 270");
  if (options.IsObject() && !polygonsOf(options.As<Napi::Object>().Get("masks"), &masks_)) {
    error = misuse("a mask is at least three points with 0..1 for x and y");
  }
  if (!error) error = slab_.open(bytes > 0 && bytes < 1e12 ? size_t(bytes) : 0, &warning_);
  if (error) {
    napi_throw(env_, toJs(env_, error));
    state_ = State::closed;
    return;
  }
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env_, &loop) != napi_ok) {
    napi_throw(env_, toJs(env_, misuse("this environment has no event loop")));
    state_ = State::closed;
    return;
  }
  context_ = std::make_unique<Napi::AsyncContext>(env_, "obscura:camera");
  worker_ = new Worker(loop, [](void* self) { static_cast<Capture*>(self)->onReady(); }, this);
  const auto leave = [](napi_async_cleanup_hook_handle, void* self) {
    static_cast<Capture*>(self)->shutdown();
  };
  napi_add_async_cleanup_hook(env_, leave, this, &hook_);
}

Capture::~Capture() { shutdown(); }

// Ends everything at once, from any state: at the end of `close`, when the object is collected, and
// when the environment goes. Waits for a job that runs; drops what has not begun.
void Capture::shutdown() {
  if (!worker_) return;
  state_ = State::closed;
  auto* leaving = new Leaving{grabber_ ? 2 : 1, hook_};
  hook_ = nullptr;
  Grabber* grabber = std::exchange(grabber_, nullptr);
  Worker* worker = std::exchange(worker_, nullptr);
  if (grabber) grabber->halt();
  worker->shutdown(left, leaving);
  if (grabber) {
    grabber->join();
    grabber->dispose(left, leaving);
  }
  stream_.close();
  slab_.close();
}

bool Capture::post(Job job) {
  if (!worker_ || !worker_->post(job)) return false;
  if (held_++ == 0) Ref();
  return true;
}

// Finished jobs, on the loop's thread.
void Capture::onReady() {
  Napi::HandleScope scope(env_);
  Job job;
  bool ran = false;
  while (worker_ && worker_->takeDone(&job, &ran)) {
    // One for each: who waits for a picture gets it before the next one comes.
    Napi::CallbackScope callbacks(env_, *context_);
    job.finish(ran);
    job = Job{};
    if (--held_ == 0) Unref();
  }
}

Napi::Value Capture::open(const Info& info) {
  if (closing_) return rejected(env_, gone("the camera is closed"));
  if (state_ != State::idle) return rejected(env_, misuse("a camera is open already"));
  const Napi::Value options = info[0];
  if (!info[1].IsFunction() || !info[2].IsFunction()) {
    return rejected(env_, misuse("open takes options and two functions"));
  }
  Wish wish;
  wish.width = whole(options, "width", wish.width);
  wish.height = whole(options, "height", wish.height);
  wish.fps = number(options, "fps", wish.fps);
  wish.fourcc = fourccOf(string(options, "format"));
  if (wish.width == 0 || wish.height == 0 || !(wish.fps > 0)) {
    return rejected(env_, misuse("width, height and fps are above 0"));
  }
  onFrame_ = Napi::Persistent(info[1].As<Napi::Function>());
  onEnd_ = Napi::Persistent(info[2].As<Napi::Function>());
  auto deferred = Napi::Promise::Deferred::New(env_);
  auto error = std::make_shared<Error>();
  const std::string source = string(options, "source");
  state_ = State::opening;
  stopAsked_ = false;
  post({[this, source, wish, error] { *error = stream_.open(source, wish); },
        [this, error, deferred](bool) { opened(*error, deferred); }, false});
  return deferred.Promise();
}

void Capture::opened(const Error& error, Napi::Promise::Deferred deferred) {
  Error outcome = error;
  const Mode& mode = stream_.mode();
  if (!outcome && mode.label.fourcc != pixels::MJPG &&
      2 * mode.pictureBytes > slab_.usage().bytes) {
    outcome = misuse("the slab has no room for two pictures of " +
                     std::to_string(mode.pictureBytes) + " bytes");
  }
  if (!outcome && (stopAsked_ || closing_)) outcome = gone("the camera was closed while it opened");
  uv_loop_t* loop = nullptr;
  if (!outcome && napi_get_uv_event_loop(env_, &loop) == napi_ok) {
    const auto ready = [](void* self) { static_cast<Capture*>(self)->onPictures(); };
    grabber_ = new Grabber(&stream_, &slab_, ready, this);
    const bool grows = !masks_.empty() && mode.label.fourcc == pixels::MJPG;
    outcome = grabber_->start(loop, grows ? mode.pictureBytes / 16 + 4096 : 0);
  }
  if (outcome) {
    // Told when the device is free again, so that whoever is refused may try again at once.
    refused_ = std::make_unique<Refusal>(Refusal{deferred, outcome});
    return error ? stopped() : beginStop(nullptr);
  }
  state_ = State::streaming;
  streamNumber_++;
  lost_ = 0;
  if (held_++ == 0) Ref();
  deferred.Resolve(toJs(env_, mode));
}

// What the grabber has taken, but no more than a few at a time: the loop has other work too.
void Capture::onPictures() {
  Napi::HandleScope scope(env_);
  for (int round = 0; round < 8; round++) {
    Taken picture;
    Error error;
    bool ended = false;
    if (state_ != State::streaming) return;
    if (!grabber_->next(&picture, &ended, &error)) return ended ? beginStop(&error) : void();
    arrived(picture);
  }
  if (state_ == State::streaming) grabber_->again();
}

Napi::Value Capture::stop(const Info&) {
  auto deferred = Napi::Promise::Deferred::New(env_);
  if (state_ == State::idle || state_ == State::closed) {
    deferred.Resolve(env_.Undefined());
    return deferred.Promise();
  }
  stoppers_.push_back(deferred);
  if (state_ == State::opening) stopAsked_ = true;
  if (state_ == State::streaming) beginStop(nullptr);
  return deferred.Promise();
}

// From an open device.
void Capture::beginStop(const Error* why) {
  const bool streamed = std::exchange(state_, State::stopping) == State::streaming;
  if (grabber_) grabber_->halt();
  if (why) ended_ = std::make_unique<Error>(*why);
  post({[this, grabber = grabber_] {
          if (grabber) grabber->join();
          stream_.close();
        },
        [this](bool) { stopped(); }, false});
  if (streamed && --held_ == 0) Unref();
}

void Capture::stopped() {
  state_ = State::idle;
  if (Grabber* grabber = std::exchange(grabber_, nullptr)) grabber->dispose(forget, nullptr);
  if (const auto refusal = std::move(refused_)) {
    refusal->deferred.Reject(toJs(env_, refusal->error));
  }
  for (auto& deferred : std::exchange(stoppers_, {})) deferred.Resolve(env_.Undefined());
  const std::unique_ptr<Error> why = std::move(ended_);
  if (closing_) return beginClose();
  if (why) {
    Napi::Function callback = onEnd_.Value();
    report(callback, {toJs(env_, *why)});
  }
}

Napi::Value Capture::close(const Info&) {
  auto deferred = Napi::Promise::Deferred::New(env_);
  if (state_ == State::closed) {
    deferred.Resolve(env_.Undefined());
    return deferred.Promise();
  }
  closers_.push_back(deferred);
  if (closing_) return deferred.Promise();
  closing_ = true;
  worker_->refuse();
  if (state_ == State::streaming) beginStop(nullptr);
  if (state_ == State::idle) beginClose();
  return deferred.Promise();
}

// Behind the job that runs, so that the loop never waits for it.
void Capture::beginClose() {
  post({[] {}, [this](bool) { finishClose(); }, false});
}

void Capture::finishClose() {
  shutdown();
  for (auto& deferred : std::exchange(closers_, {})) deferred.Resolve(env_.Undefined());
}

// Calls back into JavaScript; what that throws is an uncaught exception, as with any event.
void Capture::report(Napi::Function callback, std::initializer_list<napi_value> values) {
  callback.MakeCallback(Value(), values, *context_);
  if (env_.IsExceptionPending()) {
    napi_fatal_exception(env_, env_.GetAndClearPendingException().Value());
  }
}

Napi::Function Capture::define(Napi::Env env) {
  return DefineClass(env, "Capture",
                     {
                         InstanceMethod<&Capture::open>("open"),
                         InstanceMethod<&Capture::stop>("stop"),
                         InstanceMethod<&Capture::close>("close"),
                         InstanceMethod<&Capture::controls>("controls"),
                         InstanceMethod<&Capture::getControl>("getControl"),
                         InstanceMethod<&Capture::setControl>("setControl"),
                         InstanceMethod<&Capture::put>("put"),
                         InstanceMethod<&Capture::retain>("retain"),
                         InstanceMethod<&Capture::release>("release"),
                         InstanceMethod<&Capture::copy>("copy"),
                         InstanceMethod<&Capture::luma>("luma"),
                         InstanceMethod<&Capture::tensor>("tensor"),
                         InstanceMethod<&Capture::jpeg>("jpeg"),
                         InstanceMethod<&Capture::usage>("usage"),
                         InstanceAccessor<&Capture::warning>("warning"),
                     });
}

}  // namespace camera
