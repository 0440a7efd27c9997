// A wall clock that a test sets: preloaded into a program, it adds to the time of day the seconds in
// the file that OBSCURA_TEST_CLOCK names, also while the program runs. Other clocks go on as they do.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

std::int64_t SecondsAhead() {
  static const volatile std::int64_t* const ahead = [] {
    const char* path = std::getenv("OBSCURA_TEST_CLOCK");
    const int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void* at = mmap(nullptr, sizeof(std::int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (at == MAP_FAILED) std::abort();
    close(file);
    return static_cast<const volatile std::int64_t*>(at);
  }();
  return *ahead;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  using Function = int (*)(clockid_t, timespec*);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = real(clock, now);
  const bool is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
  if (result == 0 && is_wall) now->tv_sec += SecondsAhead();
  return result;
}

int gettimeofday(timeval* now, void*) noexcept {
  timespec fine;
  const int result = clock_gettime(CLOCK_REALTIME, &fine);
  now->tv_sec = fine.tv_sec;
  now->tv_usec = fine.tv_nsec / 1000;
  return result;
}

time_t time(time_t* now) noexcept {
  timespec fine;
  clock_gettime(CLOCK_REALTIME, &fine);
  if (now) *now = fine.tv_sec;
  return fine.tv_sec;
}

}  // extern "C"
