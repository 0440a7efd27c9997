// Which cells of a grid over the stored picture a set of polygons touches.
#pragma once

#include "pixels_view.h"

namespace pixels {

class Shape {
 public:
  // Polygons of the upright picture; false when one is not a polygon.
  bool set(const Polygons&, const Axes&, uint32_t width, uint32_t height);
  bool empty() const { return corners_.empty(); }
  // Sets the cells of one row that hold any part of a polygon; the others are left alone.
  void mark(uint32_t cellWidth, uint32_t cellHeight, uint32_t row, uint8_t* cells,
            uint32_t count) const;

 private:
  struct Corner {
    double x, y;
  };
  struct Crossing {
    double x;
    int winding;
  };
  std::vector<Corner> corners_;  // stored pixels, polygon after polygon
  std::vector<size_t> ends_;
  mutable std::vector<Crossing> crossings_;
};

}  // namespace pixels
