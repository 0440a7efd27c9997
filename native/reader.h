// The least that a reader of a camera can do, in plain calls: what capture costs is held against it.
#pragma once
#include <cstdint>
#include <string>

#include "error.h"

namespace camera {

struct Reading {
  uint32_t width = 0, height = 0, fourcc = 0, pictures = 0;
  double cpuUs = 0;  // processor time of this thread, opening and closing left out
  uint64_t bytes = 0;
};

// Takes `pictures` of the camera with poll, DQBUF, one copy of `bytesused` bytes, and QBUF.
Error readBare(const std::string& path, Reading* reading);

}  // namespace camera
