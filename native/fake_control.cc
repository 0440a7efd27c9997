// The controls of the fake driver.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <linux/videodev2.h>

#include "fake.h"

namespace camera::fake {
namespace {

int nextControl(Camera& camera, v4l2_query_ext_ctrl* query) {
  const uint32_t after = query->id & ~(V4L2_CTRL_FLAG_NEXT_CTRL | V4L2_CTRL_FLAG_NEXT_COMPOUND);
  for (const Control& control : camera.controls) {
    if (control.id <= after) continue;
    *query = {};
    query->id = control.id;
    query->type = !std::strcmp(control.type, "menu")      ? V4L2_CTRL_TYPE_MENU
                  : !std::strcmp(control.type, "boolean") ? V4L2_CTRL_TYPE_BOOLEAN
                                                          : V4L2_CTRL_TYPE_INTEGER;
    std::memcpy(query->name, control.name.data(), std::min<size_t>(31, control.name.size()));
    query->minimum = control.least;
    query->maximum = control.most;
    query->step = static_cast<uint64_t>(control.step);
    query->default_value = control.standard;
    query->flags = (control.writable ? 0 : V4L2_CTRL_FLAG_READ_ONLY) |
                   (control.active ? 0 : V4L2_CTRL_FLAG_INACTIVE);
    return 0;
  }
  return EINVAL;
}

Control* controlOf(Camera& camera, uint32_t id) {
  for (Control& control : camera.controls) {
    if (control.id == id) return &control;
  }
  return nullptr;
}

}  // namespace

int answerControl(Camera& camera, unsigned long request, void* argument) {
  if (request == VIDIOC_QUERY_EXT_CTRL) {
    return nextControl(camera, static_cast<v4l2_query_ext_ctrl*>(argument));
  }
  if (request == VIDIOC_QUERYMENU) {
    auto* item = static_cast<v4l2_querymenu*>(argument);
    const Control* control = controlOf(camera, item->id);
    if (!control) return EINVAL;
    for (const auto& [value, name] : control->menu) {
      if (value != static_cast<int64_t>(item->index)) continue;
      std::memcpy(item->name, name.data(), std::min(sizeof item->name - 1, name.size()));
      return 0;
    }
    return EINVAL;
  }
  auto* value = static_cast<v4l2_control*>(argument);
  Control* control = controlOf(camera, value->id);
  if (!control) return EINVAL;
  if (request == VIDIOC_S_CTRL) {
    if (!control->writable) return EACCES;
    if (value->value < control->least || value->value > control->most) return ERANGE;
    control->value = value->value;
  }
  value->value = control->value;
  return 0;
}

}  // namespace camera::fake
