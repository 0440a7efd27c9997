// A JPEG decoded once for several results: its planes as they are stored, without the way to RGB.
#include "jpeg.h"

#include <algorithm>

namespace pixels {

namespace {
struct Reading {
  JpegErrors errors;
  jpeg_decompress_struct codec;
  jpeg_source_mgr source;
  jpeg_progress_mgr progress;
  size_t rows[3];  // of one row of coding units, by plane
};

constexpr size_t lineUnit = 32;
constexpr int mostRows = 4 * 8;  // of a plane in one row of coding units

size_t roundUp(size_t v, size_t to) { return (v + to - 1) / to * to; }
}  // namespace

static Status readAll(Reading* r, const Picture& picture, int eighths, Buffer* bytes,
                      JpegPlanes* out) {
  jpeg_decompress_struct* codec = &r->codec;
  codec->err = &r->errors.base;
  if (setjmp(r->errors.back)) {
    jpeg_destroy_decompress(codec);
    return r->errors.status;
  }
  jpeg_create_decompress(codec);
  readFrom(codec, &r->source, picture.data, picture.length);
  limit(codec, &r->progress);
  jpeg_read_header(codec, TRUE);
  demand(codec, picture.width, picture.height);
  const bool isGrey = codec->jpeg_color_space == JCS_GRAYSCALE;
  if (!isGrey && codec->jpeg_color_space != JCS_YCbCr) {
    jpeg_destroy_decompress(codec);
    return Status::ok;
  }

  codec->scale_num = static_cast<unsigned>(eighths);
  codec->scale_denom = 8;
  codec->raw_data_out = TRUE;
  codec->out_color_space = codec->jpeg_color_space;
  codec->dct_method = JDCT_ISLOW;
  jpeg_start_decompress(codec);

  const int count = isGrey ? 1 : 3;
  size_t start[3], total = 0;
  for (int k = 0; k < count; k++) {
    const jpeg_component_info& plane = codec->comp_info[k];
    const auto scale = static_cast<size_t>(plane.DCT_scaled_size);
    r->rows[k] = static_cast<size_t>(plane.v_samp_factor) * scale;
    out->stride[k] = roundUp(size_t{plane.width_in_blocks} * scale, lineUnit);
    out->width[k] = plane.downsampled_width;
    out->height[k] = plane.downsampled_height;
    out->perX[k] = static_cast<double>(plane.h_samp_factor) * plane.DCT_scaled_size /
                   (codec->max_h_samp_factor * 8);
    out->perY[k] = static_cast<double>(plane.v_samp_factor) * plane.DCT_scaled_size /
                   (codec->max_v_samp_factor * 8);
    start[k] = total;
    total += out->stride[k] * r->rows[k] * codec->total_iMCU_rows;
  }
  if (!bytes->reserve(total)) {
    jpeg_destroy_decompress(codec);
    return Status::full;
  }
  const auto lines = static_cast<JDIMENSION>(codec->max_v_samp_factor *
                                             codec->min_DCT_scaled_size);
  for (size_t row = 0; codec->output_scanline < codec->output_height; row++) {
    JSAMPROW pointers[3][mostRows];
    JSAMPARRAY planes[3] = {pointers[0], pointers[1], pointers[2]};
    for (int k = 0; k < count; k++) {
      uint8_t* line = bytes->as() + start[k] + out->stride[k] * r->rows[k] * row;
      for (size_t i = 0; i < r->rows[k]; i++) pointers[k][i] = line + out->stride[k] * i;
    }
    jpeg_read_raw_data(codec, planes, lines);
  }
  jpeg_destroy_decompress(codec);
  for (int k = 0; k < count; k++) out->data[k] = bytes->as() + start[k];
  out->count = count;
  return Status::ok;
}

Status readPlanes(const Picture& picture, int eighths, Buffer* bytes, char* message,
                  JpegPlanes* out) {
  Reading r = {};
  watch(&r.errors, message);
  out->count = 0;
  return readAll(&r, picture, eighths, bytes, out);
}

}  // namespace pixels
