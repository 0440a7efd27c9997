// Takes a camera's pictures on a thread of its own, so that nothing that holds up the loop (the start
// of an encoder, code that runs for the first time) costs one: they wait in the slab.
//
// What waits is bounded. When it is enough the thread takes no more until the loop has: what then
// comes stays with the driver, and is lost and counted there when its buffers are full.
#pragma once
#include <deque>
#include <mutex>
#include <thread>
#include <uv.h>

#include "stream.h"

namespace camera {

class Grabber {
 public:
  // `ready` is called on the loop's thread when pictures wait, or the end.
  Grabber(Stream* stream, Slab* slab, void (*ready)(void*), void* owner);
  Grabber(const Grabber&) = delete;
  Grabber& operator=(const Grabber&) = delete;

  // Begins to take pictures of the streaming camera; a slot gets `slack` bytes more than each. On
  // failure nothing was begun: `dispose` is still to be called.
  Error start(uv_loop_t* loop, size_t slack);

  // The next picture, on the loop's thread; false when none waits. Once all were taken, `ended`
  // becomes true and `error` says why, if the stream is over.
  bool next(Taken* out, bool* ended, Error* error);

  // Has `ready` called again: the loop has other work too.
  void again() { uv_async_send(&async_); }

  // No more pictures: those that wait are given back. Does not wait for the thread.
  void halt();

  // Waits until the thread touches the camera no more; on any thread but that one, after `halt`.
  void join();

  // After `join`, on the loop's thread: `closed` comes from the loop, and the grabber deletes itself.
  void dispose(void (*closed)(void*), void* owner);

 private:
  // Whichever comes first, but always so many pictures as a driver has buffers.
  static constexpr size_t mostWaiting = 64, leastWaiting = 4, share = 4;

  ~Grabber() = default;
  void main();
  bool takeAll(int* taken);
  bool isFull() const;
  void wake();
  void end(const Error& error);

  Stream* stream_;
  Slab* slab_;
  void (*ready_)(void*);
  void (*closed_)(void*) = nullptr;
  void* owner_;
  size_t slack_ = 0, mostBytes_ = 0;
  int wake_ = -1;  // an eventfd
  uv_async_t async_;
  bool opened_ = false;  // the loop has the handle
  std::thread thread_;
  std::mutex mutex_;
  std::deque<Taken> waiting_;
  size_t waitingBytes_ = 0;
  bool full_ = false, halted_ = false, ended_ = false;
  Error error_;
};

}  // namespace camera
