// What went wrong, without exceptions: a kind that callers branch on, the call and errno behind it.
#pragma once
#include <cstdint>
#include <string>

namespace camera {

// The kinds of src/base/pure/failure.ts that a camera can cause.
enum class Kind : uint8_t {
  none, absent, busy, denied, refused, stalled, full, gone, corrupt, misuse
};

struct Error {
  Kind kind = Kind::none;
  std::string message;
  std::string hint;        // what the person in front of it can do
  const char* call = "";   // "VIDIOC_S_FMT"; empty when no system call failed
  int code = 0;            // errno, 0 when there was none

  explicit operator bool() const { return kind != Kind::none; }
};

const char* kindName(Kind kind);

// "EBUSY", or "errno 524" for what has no name here.
std::string errnoName(int code);

// The error of a failed call on the device at `path`. ENOENT, ENODEV and ENXIO become absent, or
// gone when the device had been open already; EACCES and EPERM become denied and name the group.
Error systemError(const char* call, int code, const std::string& path, bool wasOpen);

Error misuse(std::string message);

}  // namespace camera
