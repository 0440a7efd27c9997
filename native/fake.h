// A V4L2 driver inside the process, for tests: it stands behind the seam in place of xioctl.cc. Its
// fds are real ones that uv_poll can wait for, and it shows POLLERR and ENODEV as a pulled plug does.
// Everything that a driver does wrong can be asked of it (puppet.cc is the way from JavaScript).
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "control.h"
#include "device.h"

namespace camera::fake {

// Follows the rules of libcamera's V4L2 layer: EINVAL without O_NONBLOCK; ENOTTY for intervals,
// rates and controls; ends the process on a format or size it never listed, and on buffers that
// come back in another order than they went out.
enum class Personality { uvc, libcamera };

// How the next pictures come. Rate 0: only when pushed; above `fastest`: as fast as buffers come.
struct Behaviour {
  static constexpr double fastest = 10000;
  double fps = 0;
  bool stalled = false;        // the driver goes on, no picture comes
  uint32_t errorEvery = 0;     // each n-th picture carries the error flag
  int64_t bytesUsed = -1;      // claimed length; -1: the true one
  bool monotonic = true;       // stamps are of CLOCK_MONOTONIC
  uint32_t quantization = 0;
  uint32_t answerFourcc = 0;   // what S_FMT makes of any wish; 0: what was wished
};

struct Push {
  int picture = -1;        // index into what was fed; -1: the next
  bool error = false;
  int64_t bytesUsed = -1;
  uint32_t skip = 0;       // pictures that were lost before this one
  int64_t stampUs = -1;
  int index = -1;          // buffer index to claim; -1: the true one
};

struct Fault {
  std::string call;  // "VIDIOC_QBUF", "open", "mmap", …
  int code;
  uint32_t after, times;
};

struct Buffer {
  size_t offset = 0;
  bool queued = false;
  int holds = -1;  // which picture lies in it already
  uint32_t bytesUsed = 0, flags = 0, sequence = 0;
  uint64_t stampUs = 0;
  int claimed = -1;
};

struct Camera {
  Device device;
  uint32_t capabilities = 0, wishedBuffers = 32;
  Personality personality = Personality::uvc;
  std::vector<Control> controls;
  Behaviour behaviour;
  std::vector<std::vector<uint8_t>> pictures;
  std::vector<Fault> faults;
  std::map<std::string, uint32_t> calls;
  bool plugged = true;
  size_t mapped = 0;  // buffers mapped by readers at the moment

  // Of the one fd that holds the buffers.
  int owner = -1;
  bool streaming = false;
  uint32_t fourcc = 0, width = 0, height = 0, sizeimage = 0;
  Interval interval;
  int memory = -1;
  uint8_t* base = nullptr;
  std::vector<Buffer> buffers;
  std::deque<uint32_t> queued, done;
  uint32_t sequence = 0, nextPicture = 0, nextIndex = 0;
  std::chrono::steady_clock::time_point due;
};

struct Open {
  std::shared_ptr<Camera> camera;
  int peer;  // the other end of the fd: a byte for each picture that waits; -1 after an unplug
};

struct World {
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::shared_ptr<Camera>> cameras;  // by path
  std::map<int, Open> opens;
  std::map<void*, std::shared_ptr<Camera>> maps;
  bool ticking = false;
};

World& world();

// All below: the world's mutex is held.
std::shared_ptr<Camera> find(const std::string& path);
int failing(Camera& camera, const std::string& call);  // the errno a script asks for, else 0
bool produce(Camera& camera, const Push& push);        // false: no buffer was free, the picture is lost
void refill(Camera& camera);                           // for the fastest rate
void release(Camera& camera);                          // gives the buffers up
void pull(Camera& camera);                             // the plug
int answer(Camera& camera, int fd, unsigned long request, void* argument);  // errno; fake_ioctl.cc
int answerControl(Camera& camera, unsigned long request, void* argument);     // fake_control.cc

}  // namespace camera::fake
