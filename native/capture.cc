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

void freePoll(uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); }

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
  auto* leaving = new Leaving{1, hook_};
  hook_ = nullptr;
  if (poll_) {
    uv_close(reinterpret_cast<uv_handle_t*>(poll_), freePoll);
    poll_ = nullptr;
  }
  Worker* worker = worker_;
  worker_ = nullptr;
  worker->shutdown(left, leaving);
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
  Napi::CallbackScope callbacks(env_, *context_);
  Job job;
  bool ran = false;
  while (worker_ && worker_->takeDone(&job, &ran)) {
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
    poll_ = new uv_poll_t;
    const int code = uv_poll_init(loop, poll_, stream_.fd());
    if (code != 0) {
      delete poll_;
      poll_ = nullptr;
      outcome = systemError("uv_poll_init", -code, mode.path, true);
    }
  }
  if (outcome) {
    // Told when the device is free again, so that whoever is refused may try again at once.
    refused_ = std::make_unique<Refusal>(Refusal{deferred, outcome});
    return error ? stopped() : beginStop(nullptr);
  }
  poll_->data = this;
  state_ = State::streaming;
  streamNumber_++;
  lost_ = 0;
  if (held_++ == 0) Ref();
  startPoll();
  deferred.Resolve(toJs(env_, mode));
}

// Takes what is ready, but no more than one round of buffers: the loop has other work too.
void Capture::onReadable() {
  Napi::HandleScope scope(env_);
  bool empty = false;
  int taken = 0;
  for (int round = 0; round < 8 && state_ == State::streaming && !empty; round++) {
    Taken picture;
    Error error;
    const size_t slack = masks_.empty() || stream_.mode().label.fourcc != pixels::MJPG
                             ? 0
                             : stream_.mode().pictureBytes / 16 + 4096;
    switch (stream_.take(slab_, slack, &picture, &error)) {
      case Took::nothing: empty = true; break;
      case Took::ended: return beginStop(&error);
      case Took::lost: taken++; break;
      case Took::picture:
        taken++;
        arrived(picture);
        break;
    }
  }
  if (state_ != State::streaming) return;
  if (uv_is_active(reinterpret_cast<uv_handle_t*>(poll_))) {
    // v4l2loopback hangs a poller on its queue only if there was nothing to read when it was added,
    // and so never wakes one that was added while a picture lay there. Added anew after each
    // emptying it is either hung on the queue or told of the next picture at once.
    if (empty) {
      uv_poll_stop(poll_);
      startPoll();
    }
    return;
  }
  // libuv stops at an error of the fd. If pictures were there, the next DQBUF may still tell the
  // reason; an error that no DQBUF knows of would wake the loop for ever.
  if (taken > 0) return startPoll();
  const Error error = systemError("poll", EIO, stream_.mode().path, true);
  beginStop(&error);
}

void Capture::startPoll() {
  uv_poll_start(poll_, UV_READABLE, [](uv_poll_t* poll, int, int) {
    static_cast<Capture*>(poll->data)->onReadable();
  });
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

// From an open device. The fd may be closed as soon as uv_close was called on its poll handle.
void Capture::beginStop(const Error* why) {
  state_ = State::stopping;
  const bool polled = poll_ != nullptr;
  if (polled) {
    uv_close(reinterpret_cast<uv_handle_t*>(poll_), freePoll);
    poll_ = nullptr;
  }
  if (why) ended_ = std::make_unique<Error>(*why);
  post({[this] { stream_.close(); }, [this](bool) { stopped(); }, false});
  if (polled && --held_ == 0) Unref();
}

void Capture::stopped() {
  state_ = State::idle;
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
