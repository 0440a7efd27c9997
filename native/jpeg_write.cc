#include "jpeg.h"

namespace pixels {

namespace {
struct Writing {
  JpegErrors errors;
  jpeg_compress_struct codec;
  JpegSink sink;
};
}  // namespace

static void writeLines(j_compress_ptr codec, const uint8_t* data, size_t stride) {
  while (codec->next_scanline < codec->image_height) {
    JSAMPROW rows[16];
    const JDIMENSION left = codec->image_height - codec->next_scanline;
    const JDIMENSION count = left < 16 ? left : 16;
    for (JDIMENSION i = 0; i < count; i++) {
      rows[i] = const_cast<JSAMPROW>(data + stride * (codec->next_scanline + i));
    }
    jpeg_write_scanlines(codec, rows, count);
  }
}

// libjpeg wants whole coding units: below the picture its last line is repeated.
static void writePlanes(j_compress_ptr codec, const Planes& planes) {
  const uint32_t height = planes.height, colourHeight = (planes.height + 1) / 2;
  while (codec->next_scanline < height) {
    JSAMPROW grey[16], blue[8], red[8];
    JSAMPARRAY all[3] = {grey, blue, red};
    for (uint32_t i = 0; i < 16; i++) {
      const uint32_t y = codec->next_scanline + i;
      const size_t row = y < height ? y : height - 1;
      grey[i] = const_cast<JSAMPROW>(planes.grey + planes.stride * row);
    }
    for (uint32_t i = 0; i < 8; i++) {
      const uint32_t y = codec->next_scanline / 2 + i;
      const size_t row = y < colourHeight ? y : colourHeight - 1;
      blue[i] = const_cast<JSAMPROW>(planes.blue + planes.colourStride * row);
      red[i] = const_cast<JSAMPROW>(planes.red + planes.colourStride * row);
    }
    jpeg_write_raw_data(codec, all, 16);
  }
}

static Status writeAll(Writing* w, const Planes& planes, int quality, uint8_t* out,
                       size_t capacity) {
  jpeg_compress_struct* codec = &w->codec;
  codec->err = &w->errors.base;
  if (setjmp(w->errors.back)) {
    jpeg_destroy_compress(codec);
    return w->errors.status;
  }
  jpeg_create_compress(codec);
  writeTo(codec, &w->sink, out, capacity);
  codec->image_width = planes.width;
  codec->image_height = planes.height;
  const bool grey = !planes.rgb && !planes.blue;
  codec->input_components = grey ? 1 : 3;
  codec->in_color_space = grey ? JCS_GRAYSCALE : planes.rgb ? JCS_EXT_RGB : JCS_YCbCr;
  jpeg_set_defaults(codec);  // baseline, 4:2:0, the standard Huffman tables
  jpeg_set_quality(codec, quality, TRUE);
  codec->dct_method = JDCT_ISLOW;
  codec->raw_data_in = planes.rgb || grey ? FALSE : TRUE;
  jpeg_start_compress(codec, TRUE);
  if (planes.rgb) writeLines(codec, planes.rgb, planes.stride);
  else if (grey) writeLines(codec, planes.grey, planes.stride);
  else writePlanes(codec, planes);
  jpeg_finish_compress(codec);
  jpeg_destroy_compress(codec);
  return Status::ok;
}

Status writeJpeg(const Planes& planes, int quality, uint8_t* out, size_t capacity, size_t* length,
                 char* message) {
  Writing w = {};
  watch(&w.errors, message);
  const Status status = writeAll(&w, planes, quality, out, capacity);
  if (status != Status::ok) return status;
  if (w.sink.length > capacity) return Status::full;
  *length = w.sink.length;
  return Status::ok;
}

}  // namespace pixels
