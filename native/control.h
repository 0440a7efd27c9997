// A camera's controls (brightness, power line frequency, …), by the names that v4l2-ctl shows.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "error.h"

namespace camera {

struct Control {
  uint32_t id = 0;
  std::string name;   // lower case with underscores: power_line_frequency
  const char* type = "integer";  // integer, boolean, menu, button, bitmask
  int64_t least = 0, most = 0, step = 1, standard = 0;
  int32_t value = 0;
  bool readable = true, writable = true, active = true;
  std::vector<std::pair<int64_t, std::string>> menu;
};

// All controls with their values; none when the driver has no controls (ENOTTY).
std::vector<Control> listControls(int fd);

Error getControl(int fd, const std::string& path, const std::string& name, int32_t* value);

// Sets a control and reads back in `*value` what the driver made of it.
Error setControl(int fd, const std::string& path, const std::string& name, int32_t* value);

}  // namespace camera
