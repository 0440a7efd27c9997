// What a video node is and offers. Knows nothing of streaming.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "error.h"
#include "xioctl.h"

namespace camera {

// Seconds between two frames, as a fraction.
struct Interval {
  uint32_t numerator = 0, denominator = 0;
  double fps() const { return numerator ? double(denominator) / numerator : 0; }
};

struct Size {
  uint32_t width = 0, height = 0;        // the largest, when stepwise
  bool stepwise = false;
  uint32_t leastWidth = 0, leastHeight = 0, stepWidth = 1, stepHeight = 1;
  std::vector<Interval> intervals;       // the shortest and the longest only, when rateStepwise
  bool rateStepwise = false;
};

struct Format {
  uint32_t fourcc = 0;
  std::string description;
  std::vector<Size> sizes;  // empty: the driver does not enumerate sizes
};

struct Device {
  seam::Node node;
  std::string card, driver, bus;
  std::vector<Format> formats;
  bool captures = false;  // has pictures to give, usable here or not
  Error unusable;         // none when a picture can be had of it

  // The name that means the same camera after a replug: by-id, else by-path, else the node.
  const std::string& stable() const;
};

// Every video node of the system, the unusable ones with their reason.
std::vector<Device> listDevices();

// The node that `source` names: a node or any link to one.
Error locate(const std::string& source, seam::Node* out);

// Opens the node (O_NONBLOCK) for reading and checks that it can be used.
Error openDevice(const seam::Node& node, Device* out, int* fd);

// The intervals of one format and size; empty when the driver does not enumerate them.
void listIntervals(int fd, uint32_t fourcc, uint32_t width, uint32_t height, Size* size);

// The five formats that pixels.h reads. 'JPEG' is another driver's name for MJPG.
bool isUsable(uint32_t fourcc);

std::string fourccName(uint32_t fourcc);

}  // namespace camera
