#include "error.h"

#include <cerrno>
#include <cstring>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace camera {
namespace {

std::string groupOf(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return "video";
  char text[4096];
  struct group group, *found = nullptr;
  if (getgrgid_r(status.st_gid, &group, text, sizeof text, &found) != 0 || !found) return "video";
  return found->gr_name;
}

std::string userName() {
  char text[4096];
  struct passwd user, *found = nullptr;
  if (getpwuid_r(geteuid(), &user, text, sizeof text, &found) != 0 || !found) return "USER";
  return found->pw_name;
}

// True when the group's own list has the user: then only a new login is missing.
bool listed(const std::string& group, const std::string& user) {
  char text[16384];
  struct group entry, *found = nullptr;
  if (getgrnam_r(group.c_str(), &entry, text, sizeof text, &found) != 0 || !found) return false;
  for (char** member = found->gr_mem; *member; member++) {
    if (user == *member) return true;
  }
  return false;
}

std::string groupHint(const std::string& path) {
  const std::string group = groupOf(path), user = userName();
  if (group == "root") {
    return "the device belongs to the group root: a udev rule is missing (SUBSYSTEM==\"video4linux\", "
           "GROUP=\"video\")";
  }
  if (listed(group, user)) {
    return user + " is in the group " + group + " already, but not in this session: log in again";
  }
  return "add the user to the group " + group + ": sudo usermod -aG " + group + " " + user +
         ", then log in again";
}

}  // namespace

const char* kindName(Kind kind) {
  switch (kind) {
    case Kind::none: return "none";
    case Kind::absent: return "absent";
    case Kind::busy: return "busy";
    case Kind::denied: return "denied";
    case Kind::refused: return "refused";
    case Kind::stalled: return "stalled";
    case Kind::full: return "full";
    case Kind::gone: return "gone";
    case Kind::corrupt: return "corrupt";
    case Kind::misuse: return "misuse";
  }
  return "misuse";
}

std::string errnoName(int code) {
  const char* name = strerrorname_np(code);
  return name ? name : "errno " + std::to_string(code);
}

Error systemError(const char* call, int code, const std::string& path, bool wasOpen) {
  Error error;
  error.call = call;
  error.code = code;
  switch (code) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      error.kind = wasOpen ? Kind::gone : Kind::absent;
      error.message = wasOpen ? path + " went away" : "there is no camera at " + path;
      error.hint = wasOpen ? "check its plug and its cable" : "obscura-camera doctor lists the cameras";
      return error;
    case EBUSY:
      error.kind = Kind::busy;
      error.message = path + " is in use by another program";
      error.hint = "find it with: sudo fuser -v " + path;
      return error;
    case EACCES:
    case EPERM:
      error.kind = Kind::denied;
      error.message = "no permission to use " + path;
      error.hint = groupHint(path);
      return error;
    case ENOMEM:
      error.kind = Kind::full;
      error.message = "no memory for the buffers of " + path;
      break;
    case ENOSPC:
      error.kind = Kind::refused;
      error.message = "the bus has no room left for the pictures of " + path;
      error.hint = "use another USB port, or a smaller picture, or MJPG";
      break;
    case EIO:
    case EPROTO:
    case ETIMEDOUT:
    case EPIPE:
      error.kind = Kind::stalled;
      error.message = path + " does not answer as it should";
      error.hint = "check its cable and its power; unplug it and plug it in again";
      break;
    default:
      error.kind = Kind::refused;
      error.message = path + " refused " + call;
  }
  error.message += " (" + errnoName(code) + ": " + std::strerror(code) + ")";
  return error;
}

Error misuse(std::string message) {
  Error error;
  error.kind = Kind::misuse;
  error.message = std::move(message);
  return error;
}

}  // namespace camera
