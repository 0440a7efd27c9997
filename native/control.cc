#include "control.h"

#include <cctype>
#include <cerrno>
#include <cstring>
#include <linux/videodev2.h>

#include "xioctl.h"

namespace camera {
namespace {

constexpr int mostControls = 512;

std::string plain(const char* name, size_t most) {
  std::string out;
  bool gap = false;
  for (const char* at = name; at < name + most && *at; at++) {
    if (std::isalnum(static_cast<unsigned char>(*at))) {
      if (gap && !out.empty()) out += '_';
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(*at)));
      gap = false;
    } else {
      gap = true;
    }
  }
  return out;
}

const char* typeName(uint32_t type) {
  switch (type) {
    case V4L2_CTRL_TYPE_INTEGER: return "integer";
    case V4L2_CTRL_TYPE_BOOLEAN: return "boolean";
    case V4L2_CTRL_TYPE_MENU:
    case V4L2_CTRL_TYPE_INTEGER_MENU: return "menu";
    case V4L2_CTRL_TYPE_BUTTON: return "button";
    case V4L2_CTRL_TYPE_BITMASK: return "bitmask";
    default: return nullptr;  // headings, strings, arrays, 64 bits
  }
}

void listMenu(int fd, Control* control, bool integers) {
  for (int64_t index = control->least; index <= control->most && index < 256; index++) {
    v4l2_querymenu item = {};
    item.id = control->id;
    item.index = static_cast<uint32_t>(index);
    if (seam::ioctl(fd, VIDIOC_QUERYMENU, &item) != 0) continue;  // menus may have gaps
    const char* name = reinterpret_cast<const char*>(item.name);
    control->menu.emplace_back(index, integers
                                          ? std::to_string(item.value)
                                          : std::string(name, strnlen(name, sizeof item.name)));
  }
}

Error find(int fd, const std::string& path, const std::string& name, Control* out) {
  Error error;
  std::string names;
  for (Control& control : listControls(fd)) {
    if (control.name == name) {
      *out = std::move(control);
      return {};
    }
    names += (names.empty() ? "" : ", ") + control.name;
  }
  error.kind = Kind::refused;
  error.message = path + " has no control \"" + name + "\"";
  error.hint = names.empty() ? "this camera has no controls" : "it has " + names;
  return error;
}

}  // namespace

std::vector<Control> listControls(int fd) {
  std::vector<Control> controls;
  v4l2_query_ext_ctrl query = {};
  for (int count = 0; count < mostControls; count++) {
    query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
    if (seam::ioctl(fd, VIDIOC_QUERY_EXT_CTRL, &query) != 0) break;
    const char* type = typeName(query.type);
    if (!type || query.flags & V4L2_CTRL_FLAG_DISABLED || query.nr_of_dims > 0) continue;
    Control control;
    control.id = query.id;
    control.name = plain(query.name, sizeof query.name);
    control.type = type;
    control.least = query.minimum;
    control.most = query.maximum;
    control.step = static_cast<int64_t>(query.step);
    control.standard = query.default_value;
    control.readable = !(query.flags & V4L2_CTRL_FLAG_WRITE_ONLY);
    control.writable = !(query.flags & V4L2_CTRL_FLAG_READ_ONLY);
    control.active = !(query.flags & V4L2_CTRL_FLAG_INACTIVE);
    if (query.type == V4L2_CTRL_TYPE_MENU || query.type == V4L2_CTRL_TYPE_INTEGER_MENU) {
      listMenu(fd, &control, query.type == V4L2_CTRL_TYPE_INTEGER_MENU);
    }
    if (control.readable) {
      v4l2_control value = {query.id, 0};
      if (seam::ioctl(fd, VIDIOC_G_CTRL, &value) == 0) control.value = value.value;
    }
    controls.push_back(std::move(control));
  }
  return controls;
}

Error getControl(int fd, const std::string& path, const std::string& name, int32_t* value) {
  Control control;
  if (Error error = find(fd, path, name, &control)) return error;
  v4l2_control got = {control.id, 0};
  if (seam::ioctl(fd, VIDIOC_G_CTRL, &got) != 0) {
    return systemError("VIDIOC_G_CTRL", errno, path, true);
  }
  *value = got.value;
  return {};
}

Error setControl(int fd, const std::string& path, const std::string& name, int32_t* value) {
  Control control;
  if (Error error = find(fd, path, name, &control)) return error;
  v4l2_control wanted = {control.id, *value};
  if (seam::ioctl(fd, VIDIOC_S_CTRL, &wanted) != 0) {
    const int code = errno;
    // Not a missing right: the camera forbids it in its present mode, or for good.
    if (code == EACCES || code == EPERM || code == ERANGE || code == EINVAL) {
      Error error = systemError("VIDIOC_S_CTRL", code, path, true);
      error.kind = Kind::refused;
      error.message = path + " refused " + std::to_string(*value) + " for \"" + name + "\" (" +
                      errnoName(code) + ")";
      error.hint = std::to_string(control.least) + " to " + std::to_string(control.most) +
                   " in steps of " + std::to_string(control.step) +
                   (control.active ? "" : "; an automatic control holds it at present");
      return error;
    }
    return systemError("VIDIOC_S_CTRL", code, path, true);
  }
  v4l2_control got = {control.id, wanted.value};
  if (control.readable && seam::ioctl(fd, VIDIOC_G_CTRL, &got) == 0) wanted.value = got.value;
  *value = wanted.value;
  return {};
}

}  // namespace camera
