#include "jpeg.h"

#include <cstring>

namespace pixels {

namespace {
struct Blanking {
  JpegErrors errors;
  jpeg_decompress_struct in;
  jpeg_compress_struct out;
  jpeg_source_mgr source;
  jpeg_progress_mgr progress;
  JpegSink sink;
};
}  // namespace

// All coefficients zero is the middle of every component's range: flat grey. Units at the right
// and lower border reach into padding that no decoder shows; it goes as well.
static void blankRow(j_decompress_ptr in, jvirt_barray_ptr* arrays, uint32_t row,
                     const uint8_t* units, uint32_t count) {
  for (int c = 0; c < in->num_components; c++) {
    const jpeg_component_info& component = in->comp_info[c];
    const auto across = static_cast<JDIMENSION>(component.h_samp_factor);
    const auto down = static_cast<JDIMENSION>(component.v_samp_factor);
    JBLOCKARRAY blocks = in->mem->access_virt_barray(reinterpret_cast<j_common_ptr>(in), arrays[c],
                                                     row * down, down, TRUE);
    for (uint32_t unit = 0; unit < count; unit++) {
      if (!units[unit]) continue;
      for (JDIMENSION line = 0; line < down; line++) {
        memset(blocks[line] + unit * across, 0, across * sizeof(JBLOCK));
      }
    }
  }
}

static Status blankAll(Blanking* b, const Picture& picture, MarkUnits mark, const void* context,
                       Buffer* units, uint8_t* out, size_t capacity) {
  b->in.err = b->out.err = &b->errors.base;
  if (setjmp(b->errors.back)) {
    jpeg_destroy_compress(&b->out);
    jpeg_destroy_decompress(&b->in);
    return b->errors.status;
  }
  jpeg_create_decompress(&b->in);
  jpeg_create_compress(&b->out);
  readFrom(&b->in, &b->source, picture.data, picture.length);
  limit(&b->in, &b->progress);
  jpeg_read_header(&b->in, TRUE);
  demand(&b->in, picture.width, picture.height);
  jvirt_barray_ptr* arrays = jpeg_read_coefficients(&b->in);

  const auto unitWidth = static_cast<uint32_t>(b->in.max_h_samp_factor) * 8;
  const auto unitHeight = static_cast<uint32_t>(b->in.max_v_samp_factor) * 8;
  const Units shape = {unitWidth, unitHeight, picture.width, picture.height};
  const uint32_t count = (picture.width + unitWidth - 1) / unitWidth;
  const uint32_t rows = (picture.height + unitHeight - 1) / unitHeight;
  if (!units->reserve(count)) {
    jpeg_destroy_compress(&b->out);
    jpeg_destroy_decompress(&b->in);
    return Status::full;
  }
  for (uint32_t row = 0; row < rows; row++) {
    memset(units->as(), 0, count);
    mark(context, shape, row, units->as(), count);
    blankRow(&b->in, arrays, row, units->as(), count);
  }

  // Only what decoding needs is copied. Saved markers, and with them EXIF thumbnails, are not.
  jpeg_copy_critical_parameters(&b->in, &b->out);
  writeTo(&b->out, &b->sink, out, capacity);
  jpeg_write_coefficients(&b->out, arrays);
  jpeg_finish_compress(&b->out);
  jpeg_finish_decompress(&b->in);
  jpeg_destroy_compress(&b->out);
  jpeg_destroy_decompress(&b->in);
  return Status::ok;
}

Status blankJpeg(const Picture& picture, MarkUnits mark, const void* context, Buffer* units,
                 uint8_t* out, size_t capacity, size_t* length, char* message) {
  Blanking b = {};
  watch(&b.errors, message);
  const Status status = blankAll(&b, picture, mark, context, units, out, capacity);
  if (status != Status::ok) return status;
  if (b.sink.length > capacity) return Status::full;
  *length = b.sink.length;
  return Status::ok;
}

}  // namespace pixels
