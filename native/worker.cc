#include "worker.h"

#include <csignal>
#include <pthread.h>

namespace camera {

Worker::Worker(uv_loop_t* loop, void (*ready)(void*), void* owner) : ready_(ready), owner_(owner) {
  uv_async_init(loop, &async_, [](uv_async_t* async) {
    auto* self = static_cast<Worker*>(async->data);
    self->ready_(self->owner_);
  });
  async_.data = this;
  // Work that is under way keeps the process alive; an idle thread does not.
  uv_unref(reinterpret_cast<uv_handle_t*>(&async_));
}

bool Worker::post(Job& job) {
  {
    std::lock_guard<std::mutex> hold(mutex_);
    if (ending_ || (job.bounded && (refusing_ || bounded_ >= mostBounded))) return false;
    bounded_ += job.bounded;
    if (pending_++ == 0) uv_ref(reinterpret_cast<uv_handle_t*>(&async_));
    queue_.push_back(std::move(job));
  }
  if (!started_) {
    started_ = true;
    // Signals are for the program's own thread; a new thread inherits the mask.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { main(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_setname_np(thread_.native_handle(), "obscura-pixels");
  }
  wake_.notify_one();
  return true;
}

void Worker::main() {
  std::unique_lock<std::mutex> hold(mutex_);
  for (;;) {
    wake_.wait(hold, [this] { return ending_ || !queue_.empty(); });
    if (ending_) return;
    Job job = std::move(queue_.front());
    queue_.pop_front();
    hold.unlock();
    job.run();
    hold.lock();
    bounded_ -= job.bounded;
    done_.emplace_back(std::move(job), true);
    uv_async_send(&async_);
  }
}

void Worker::refuse() {
  std::lock_guard<std::mutex> hold(mutex_);
  refusing_ = true;
  std::deque<Job> kept;
  for (Job& job : queue_) {
    if (job.bounded) {
      bounded_--;
      done_.emplace_back(std::move(job), false);
    } else {
      kept.push_back(std::move(job));
    }
  }
  queue_.swap(kept);
  if (!done_.empty()) uv_async_send(&async_);
}

bool Worker::takeDone(Job* job, bool* ran) {
  std::lock_guard<std::mutex> hold(mutex_);
  if (done_.empty()) return false;
  *job = std::move(done_.front().first);
  *ran = done_.front().second;
  done_.pop_front();
  if (--pending_ == 0 && !ending_) uv_unref(reinterpret_cast<uv_handle_t*>(&async_));
  return true;
}

void Worker::shutdown(void (*closed)(void*), void* owner) {
  {
    std::lock_guard<std::mutex> hold(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  if (started_) thread_.join();
  queue_.clear();
  done_.clear();
  closed_ = closed;
  owner_ = owner;
  uv_close(reinterpret_cast<uv_handle_t*>(&async_), [](uv_handle_t* handle) {
    auto* self = static_cast<Worker*>(handle->data);
    self->closed_(self->owner_);
    delete self;
  });
}

}  // namespace camera
