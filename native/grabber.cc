#include "grabber.h"

#include <cerrno>
#include <csignal>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

namespace camera {

Grabber::Grabber(Stream* stream, Slab* slab, void (*ready)(void*), void* owner)
    : stream_(stream), slab_(slab), ready_(ready), owner_(owner) {}

Error Grabber::start(uv_loop_t* loop, size_t slack) {
  slack_ = slack;
  mostBytes_ = slab_->usage().bytes / share;
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ == -1) return systemError("eventfd", errno, stream_->mode().path, true);
  const int code = uv_async_init(loop, &async_, [](uv_async_t* async) {
    auto* self = static_cast<Grabber*>(async->data);
    self->ready_(self->owner_);
  });
  if (code != 0) return systemError("uv_async_init", -code, stream_->mode().path, true);
  async_.data = this;
  opened_ = true;
  // Signals are for the program's own thread; a new thread inherits the mask.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { main(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread_.native_handle(), "obscura-grabs");
  return {};
}

bool Grabber::isFull() const {
  const size_t count = waiting_.size();
  return count >= mostWaiting || (count >= leastWaiting && waitingBytes_ >= mostBytes_);
}

void Grabber::main() {
  // It works for a millisecond a picture, and a driver has few buffers. Where it is not allowed to
  // go first it goes with the others.
  (void)setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), -10);
  for (;;) {
    pollfd fds[2] = {{wake_, POLLIN, 0}, {stream_->fd(), POLLIN, 0}};
    {
      std::lock_guard<std::mutex> hold(mutex_);
      if (halted_) return;
      full_ = isFull();
      if (full_) fds[1].fd = -1;
    }
    // Asked anew each time: v4l2loopback never wakes a poller that it hung on no queue because a
    // picture lay there when it came.
    if (::poll(fds, 2, -1) == -1) {
      if (errno == EINTR) continue;
      return end(systemError("poll", errno, stream_->mode().path, true));
    }
    if (fds[0].revents) {
      uint64_t count;
      (void)!::read(wake_, &count, sizeof count);
      continue;
    }
    int taken = 0;
    if (!takeAll(&taken)) return;
    // An error of the fd for which DQBUF has no reason would wake this thread for ever.
    if (taken == 0 && fds[1].revents & (POLLERR | POLLHUP | POLLNVAL)) {
      return end(systemError("poll", EIO, stream_->mode().path, true));
    }
  }
}

// False: no more will come.
bool Grabber::takeAll(int* taken) {
  for (;;) {
    Taken picture;
    Error error;
    const Took took = stream_->take(*slab_, slack_, &picture, &error);
    if (took == Took::nothing) return true;
    if (took == Took::ended) return end(error), false;
    ++*taken;
    if (took == Took::lost) continue;
    std::lock_guard<std::mutex> hold(mutex_);
    if (halted_) return slab_->erase(picture.handle), false;
    waiting_.push_back(picture);
    waitingBytes_ += picture.length;
    if (waiting_.size() == 1) uv_async_send(&async_);
    if (isFull()) return true;
  }
}

void Grabber::end(const Error& error) {
  std::lock_guard<std::mutex> hold(mutex_);
  if (halted_) return;
  ended_ = true;
  error_ = error;
  uv_async_send(&async_);
}

bool Grabber::next(Taken* out, bool* ended, Error* error) {
  std::lock_guard<std::mutex> hold(mutex_);
  if (!waiting_.empty()) {
    *out = waiting_.front();
    waiting_.pop_front();
    waitingBytes_ -= out->length;
    if (full_ && !isFull()) wake();
    return true;
  }
  *ended = ended_;
  if (ended_) *error = error_;
  return false;
}

void Grabber::wake() {
  full_ = false;
  const uint64_t one = 1;
  (void)!::write(wake_, &one, sizeof one);
}

void Grabber::halt() {
  std::lock_guard<std::mutex> hold(mutex_);
  halted_ = true;
  for (const Taken& picture : waiting_) slab_->erase(picture.handle);
  waiting_.clear();
  if (wake_ != -1) wake();
}

void Grabber::join() {
  if (thread_.joinable()) thread_.join();
}

void Grabber::dispose(void (*closed)(void*), void* owner) {
  if (wake_ != -1) ::close(wake_);
  closed_ = closed;
  owner_ = owner;
  const auto leave = [](uv_handle_t* handle) {
    auto* self = static_cast<Grabber*>(handle->data);
    self->closed_(self->owner_);
    delete self;
  };
  if (opened_) return uv_close(reinterpret_cast<uv_handle_t*>(&async_), leave);
  delete this;
  closed(owner);
}

}  // namespace camera
