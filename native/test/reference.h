// The slow and obvious way to do what `pixels` does, in double precision, pixel by pixel.
#pragma once

#include "scene.h"

namespace reference {

struct Colour {
  double red, green, blue, grey;
};

// The average under an area of the upright picture; nothing outside `crop` is looked at.
struct Area {
  double x0, y0, x1, y1;
};
Colour sample(const scene::Stored&, pixels::Turn, Area, pixels::Box crop);
// The stored picture's own first channel (or, of RGB, its grey), without widening its range.
double plain(const scene::Stored&, pixels::Turn, Area, pixels::Box crop);

pixels::Box whole(const pixels::Picture&, pixels::Turn);

}  // namespace reference

namespace expect {
// Counts and reports what does not hold.
bool that(bool holds, const char* format, ...) __attribute__((format(printf, 2, 3)));
int failures();
}  // namespace expect

// The groups of checks.
void outputs();
void masks();
void shared();
void refusals();
