// What a Scratch holds.
#pragma once

#include "jpeg.h"
#include "mask.h"
#include "pixels_resample.h"

namespace pixels {

struct Scratch::Inside {
  Buffer decoded;  // what readJpeg wrote
  Buffer shared;   // what readPlanes wrote
  struct {
    uint64_t identity;  // 0: nothing
    int eighths;
    JpegPlanes planes;
  } kept = {};
  Buffer planes;   // what writeJpeg is to read
  Buffer lines;    // results of one line
  Buffer coded;    // a JPEG on its way
  Buffer cells;    // one row of a mask
  Resampler resamplers[3];
  Shape shape;
  char message[JMSG_LENGTH_MAX] = "";
};

// The picture as something to average: a raw one where it lies, a JPEG decoded into the scratch,
// with only as much of it, and at as small a scale, as a result of `step` pixels a sample needs;
// or, where it is to be shared, all of it once.
Status open(const Picture&, Box stored, double step, bool grey, Scratch::Inside&, View*);

// Is the crop a part of the upright picture?
bool holds(const Picture&, const Axes&, Box crop);

}  // namespace pixels
