// JPEG in and out through libjpeg. Errors come back as Status; nothing is printed.
#pragma once

#include <csetjmp>
#include <cstdio>

#include <jpeglib.h>

#include "pixels_view.h"

namespace pixels {

// libjpeg's way out of an error. `client_data` of the codec is not used; `base` must stay first.
struct JpegErrors {
  jpeg_error_mgr base;
  jmp_buf back;
  Status status;
  char* message;  // JMSG_LENGTH_MAX bytes
};
void watch(JpegErrors*, char* message);

// libjpeg asks for more room as soon as the last byte is taken, needed or not, and does not look
// before the first one. What does not fit goes to `spill`, and `length` then exceeds `capacity`.
struct JpegSink {
  jpeg_destination_mgr base;
  size_t capacity, length;
  bool spilt;
  uint8_t spill[64];
};
void writeTo(j_compress_ptr, JpegSink*, uint8_t* out, size_t capacity);
void readFrom(j_decompress_ptr, jpeg_source_mgr*, const uint8_t* data, size_t length);
// Limits the work that a crafted JPEG can ask for. Call before the header is read.
void limit(j_decompress_ptr, jpeg_progress_mgr*);
// After the header was read: leaves by the error exit unless this is a picture we read.
void demand(j_decompress_ptr, uint32_t width, uint32_t height);

// Part of a JPEG, scaled by eighths: lines of grey bytes or RGB triples.
struct Raster {
  const uint8_t* data;
  size_t stride;
  uint32_t width, height, left, top;  // left, top: of the scaled picture
};

// Decodes at least what covers `part` (pixels of the stored picture) into `lines`.
Status readJpeg(const Picture&, bool grey, int eighths, Box part, Buffer* lines, char* message,
                Raster*);

// A whole JPEG, scaled by eighths, as the planes that it stores: grey, or grey, blue and red, the
// colours perhaps coarser. Sample = pixel of the stored picture * per.
struct JpegPlanes {
  int count;  // 1, 3; 0: colours of another kind, which only readJpeg makes something of
  const uint8_t* data[3];
  size_t stride[3];
  uint32_t width[3], height[3];
  double perX[3], perY[3];
};
Status readPlanes(const Picture&, int eighths, Buffer* bytes, char* message, JpegPlanes*);

// A picture to compress: RGB triples, or planes with colour at half size both ways (none: grey).
// Plane lines must be readable up to a multiple of 16 samples (8 for colour).
struct Planes {
  uint32_t width, height;
  const uint8_t *rgb, *grey, *blue, *red;
  size_t stride, colourStride;
};
Status writeJpeg(const Planes&, int quality, uint8_t* out, size_t capacity, size_t* length,
                 char* message);

// Marks coding units that are to be blanked: called for each unit row with one byte a unit, zeroed.
struct Units {
  uint32_t width, height;  // pixels in a unit
  uint32_t pictureWidth, pictureHeight;
};
using MarkUnits = void (*)(const void* context, const Units&, uint32_t row, uint8_t* units,
                           uint32_t count);
// Copies a JPEG with the marked units flat grey and without metadata.
Status blankJpeg(const Picture&, MarkUnits, const void* context, Buffer* units,
                 uint8_t* out, size_t capacity, size_t* length, char* message);

// Walks the markers up to the first scan.
Status walkJpeg(const uint8_t* data, size_t length, uint32_t* width, uint32_t* height);
Status checkJpeg(const Picture&);

}  // namespace pixels
