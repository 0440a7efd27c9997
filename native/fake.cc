#include "fake.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "xioctl.h"

namespace camera::fake {
namespace {

using Clock = std::chrono::steady_clock;

// Pictures at a rate, for every camera that has one.
void tick() {
  World& all = world();
  std::unique_lock<std::mutex> hold(all.mutex);
  for (;;) {
    Clock::time_point next = Clock::now() + std::chrono::seconds(1);
    for (const auto& camera : all.cameras) {
      const double fps = camera->behaviour.fps;
      if (!camera->streaming || fps <= 0 || fps > Behaviour::fastest) continue;
      const auto now = Clock::now();
      if (camera->due + std::chrono::seconds(1) < now) camera->due = now;
      if (camera->due <= now) {
        if (!camera->behaviour.stalled) produce(*camera, {});
        camera->due += std::chrono::duration_cast<Clock::duration>(
            std::chrono::duration<double>(1 / fps));
      }
      next = std::min(next, camera->due);
    }
    all.wake.wait_until(hold, next);
  }
}

}  // namespace

// Never destroyed: the ticking thread may outlive static objects.
World& world() {
  static auto* all = new World;
  return *all;
}

std::shared_ptr<Camera> find(const std::string& path) {
  for (const auto& camera : world().cameras) {
    const seam::Node& node = camera->device.node;
    if (node.path == path || (!path.empty() && (node.byId == path || node.byPath == path))) {
      return camera;
    }
  }
  return nullptr;
}

int failing(Camera& camera, const std::string& call) {
  camera.calls[call]++;
  for (Fault& fault : camera.faults) {
    if (fault.call != call || fault.times == 0) continue;
    if (fault.after > 0) {
      fault.after--;
      continue;
    }
    fault.times--;
    return fault.code;
  }
  return 0;
}

bool produce(Camera& camera, const Push& push) {
  if (!camera.streaming) return false;
  camera.sequence += push.skip;
  const uint32_t sequence = camera.sequence++;
  if (camera.queued.empty() || camera.pictures.empty()) return false;
  const int count = static_cast<int>(camera.pictures.size());
  const int index = push.picture >= 0 ? push.picture % count
                                      : static_cast<int>(camera.nextPicture++ % camera.pictures.size());
  const std::vector<uint8_t>& picture = camera.pictures[static_cast<size_t>(index)];
  Buffer& buffer = camera.buffers[camera.queued.front()];
  const size_t length = std::min<size_t>(picture.size(), camera.sizeimage);
  if (buffer.holds != index) std::memcpy(camera.base + buffer.offset, picture.data(), length);
  buffer.holds = index;
  const Behaviour& behaviour = camera.behaviour;
  const int64_t claimed = push.bytesUsed >= 0 ? push.bytesUsed : behaviour.bytesUsed;
  buffer.bytesUsed = claimed >= 0 ? static_cast<uint32_t>(claimed) : static_cast<uint32_t>(length);
  const bool error = push.error || (behaviour.errorEvery && (sequence + 1) % behaviour.errorEvery == 0);
  buffer.flags = (error ? V4L2_BUF_FLAG_ERROR : 0) |
                 (behaviour.monotonic ? V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC : 0);
  buffer.sequence = sequence;
  buffer.claimed = push.index;
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  buffer.stampUs = push.stampUs >= 0 ? static_cast<uint64_t>(push.stampUs)
                                     : uint64_t(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
  camera.done.push_back(camera.queued.front());
  camera.queued.pop_front();
  const auto open = world().opens.find(camera.owner);
  if (open != world().opens.end() && open->second.peer != -1) {
    (void)!::write(open->second.peer, "", 1);
  }
  return true;
}

void refill(Camera& camera) {
  if (camera.behaviour.stalled || camera.behaviour.fps <= Behaviour::fastest) return;
  while (camera.streaming && !camera.queued.empty() && produce(camera, {})) continue;
}

void release(Camera& camera) {
  camera.streaming = false;
  camera.queued.clear();
  camera.done.clear();
  camera.buffers.clear();
  if (camera.base) ::munmap(camera.base, ::lseek(camera.memory, 0, SEEK_END));
  if (camera.memory != -1) ::close(camera.memory);
  camera.base = nullptr;
  camera.memory = -1;
  camera.owner = -1;
}

// A byte that nobody has read makes the closing end reset the other: it sees POLLERR, as from a
// driver whose camera is gone.
void pull(Camera& camera) {
  camera.plugged = false;
  for (auto& [fd, open] : world().opens) {
    if (open.camera.get() != &camera || open.peer == -1) continue;
    ::close(open.peer);
    open.peer = -1;
  }
}

}  // namespace camera::fake

namespace camera::seam {

using namespace camera::fake;

std::vector<Node> nodes() {
  World& all = world();
  std::lock_guard<std::mutex> hold(all.mutex);
  std::vector<Node> nodes;
  for (const auto& camera : all.cameras) {
    if (camera->plugged) nodes.push_back(camera->device.node);
  }
  return nodes;
}

std::string resolve(const std::string& path) {
  World& all = world();
  std::lock_guard<std::mutex> hold(all.mutex);
  const auto camera = find(path);
  return camera && camera->plugged ? camera->device.node.path : "";
}

int open(const std::string& path, int flags) {
  World& all = world();
  std::lock_guard<std::mutex> hold(all.mutex);
  const auto camera = find(path);
  const auto refuse = [](int code) { return errno = code, -1; };
  if (!camera || !camera->plugged) return refuse(ENOENT);
  if (const int code = failing(*camera, "open")) return refuse(code);
  if (camera->personality == Personality::libcamera && !(flags & O_NONBLOCK)) return refuse(EINVAL);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return -1;
  (void)!::write(ends[0], "", 1);
  all.opens[ends[0]] = {camera, ends[1]};
  return ends[0];
}

int close(int fd) {
  World& all = world();
  std::lock_guard<std::mutex> hold(all.mutex);
  const auto open = all.opens.find(fd);
  if (open == all.opens.end()) return errno = EBADF, -1;
  const auto camera = open->second.camera;
  const int code = failing(*camera, "close");
  if (camera->owner == fd) release(*camera);
  if (open->second.peer != -1) ::close(open->second.peer);
  all.opens.erase(open);
  ::close(fd);
  return code ? (errno = code, -1) : 0;
}

int ioctl(int fd, unsigned long request, void* argument) {
  World& all = world();
  std::lock_guard<std::mutex> hold(all.mutex);
  const auto open = all.opens.find(fd);
  if (open == all.opens.end()) return errno = EBADF, -1;
  const int code = answer(*open->second.camera, fd, request, argument);
  if (request == VIDIOC_STREAMON && !all.ticking) {
    all.ticking = true;
    std::thread(tick).detach();
  }
  all.wake.notify_all();
  return code ? (errno = code, -1) : 0;
}

void* map(int fd, size_t length, off_t offset) {
  World& all = world();
  std::lock_guard<std::mutex> hold(all.mutex);
  const auto open = all.opens.find(fd);
  if (open == all.opens.end()) return errno = EBADF, MAP_FAILED;
  const auto camera = open->second.camera;
  if (const int code = failing(*camera, "mmap")) return errno = code, MAP_FAILED;
  void* start = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, camera->memory, offset);
  if (start == MAP_FAILED) return start;
  camera->mapped++;
  all.maps[start] = camera;
  return start;
}

int unmap(void* address, size_t length) {
  World& all = world();
  std::lock_guard<std::mutex> hold(all.mutex);
  const auto entry = all.maps.find(address);
  if (entry == all.maps.end()) return errno = EINVAL, -1;
  entry->second->mapped--;
  all.maps.erase(entry);
  return ::munmap(address, length);
}

}  // namespace camera::seam
