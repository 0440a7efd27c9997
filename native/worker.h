// One thread with a bounded queue, beside libuv's own four. Jobs run there in order and finish on
// the loop's thread.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <uv.h>

namespace camera {

struct Job {
  std::function<void()> run;          // on the worker's thread
  std::function<void(bool)> finish;   // on the loop's; false: refused, it never ran
  bool bounded = true;                // pixel work, which close refuses; else device work, which runs
};

class Worker {
 public:
  // `ready` is called on the loop's thread when finished jobs wait in `takeDone`.
  Worker(uv_loop_t* loop, void (*ready)(void*), void* owner);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // False when the queue is full; the job is then untouched.
  bool post(Job& job);

  // Refuses all bounded jobs that have not begun, and all to come.
  void refuse();

  bool takeDone(Job* job, bool* ran);

  // Ends the thread after the job that runs and closes the loop's handle; `closed` comes from the
  // loop afterwards, and the worker deletes itself. Jobs that are left are dropped unfinished.
  void shutdown(void (*closed)(void*), void* owner);

 private:
  static constexpr size_t mostBounded = 64;
  ~Worker() = default;
  void main();

  uv_async_t async_;
  void (*ready_)(void*);
  void (*closed_)(void*) = nullptr;
  void* owner_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;
  std::deque<std::pair<Job, bool>> done_;
  size_t bounded_ = 0, pending_ = 0;
  bool refusing_ = false, ending_ = false, started_ = false;
};

}  // namespace camera
