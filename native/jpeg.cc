#include "jpeg.h"

#include <algorithm>

#include <jerror.h>

namespace pixels {

// A camera sends one scan, a progressive file about ten. Each scan costs a pass over the picture
// for a few bytes, so their number must be bounded.
static const int mostScans = 64;

static Status statusOf(int code) {
  switch (code) {
    case JERR_OUT_OF_MEMORY: case JERR_NO_BACKING_STORE: return Status::full;
    case JERR_ARITH_NOTIMPL: case JERR_BAD_PRECISION: case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL: case JERR_CCIR601_NOTIMPL: case JERR_SOF_UNSUPPORTED:
    case JERR_COMPONENT_COUNT: case JERR_BAD_J_COLORSPACE: case JERR_NOTIMPL:
      return Status::unsupported;
    default: return Status::corrupt;
  }
}

static void leave(j_common_ptr codec) {
  auto* errors = reinterpret_cast<JpegErrors*>(codec->err);
  errors->base.format_message(codec, errors->message);
  longjmp(errors->back, 1);
}

static void leaveByCode(j_common_ptr codec) {
  reinterpret_cast<JpegErrors*>(codec->err)->status = statusOf(codec->err->msg_code);
  leave(codec);
}

// libjpeg paints grey over what it cannot read and goes on. That would be motion, or a person
// missed: a damaged picture is refused. Some webcams botch the very end of every picture, so its
// last row of coding units is let pass.
static void heed(j_common_ptr codec, int level) {
  if (level >= 0) return;
  switch (codec->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA: case JWRN_JFIF_MAJOR: case JWRN_ADOBE_XFORM: return;
    default: break;
  }
  auto* reading = reinterpret_cast<j_decompress_ptr>(codec);
  if (!codec->is_decompressor) return;
  if (reading->total_iMCU_rows && reading->input_iMCU_row + 1 >= reading->total_iMCU_rows) return;
  reinterpret_cast<JpegErrors*>(codec->err)->status = Status::corrupt;
  leave(codec);
}

void watch(JpegErrors* errors, char* message) {
  jpeg_std_error(&errors->base);
  errors->base.error_exit = leaveByCode;
  errors->base.emit_message = heed;
  errors->base.output_message = [](j_common_ptr) {};
  errors->status = Status::ok;
  errors->message = message;
}

static void refuse(j_decompress_ptr reading, Status status, int code) {
  auto* errors = reinterpret_cast<JpegErrors*>(reading->err);
  errors->base.msg_code = code;
  errors->status = status;
  leave(reinterpret_cast<j_common_ptr>(reading));
}

// The whole picture lies in memory, so to be asked for more means that it was cut off.
static boolean endOfInput(j_decompress_ptr reading) {
  refuse(reading, Status::corrupt, JERR_INPUT_EOF);
  return FALSE;
}

static void skip(j_decompress_ptr reading, long bytes) {
  if (bytes <= 0) return;
  if (static_cast<size_t>(bytes) > reading->src->bytes_in_buffer) endOfInput(reading);
  reading->src->next_input_byte += bytes;
  reading->src->bytes_in_buffer -= static_cast<size_t>(bytes);
}

void readFrom(j_decompress_ptr reading, jpeg_source_mgr* source, const uint8_t* data,
              size_t length) {
  source->next_input_byte = data;
  source->bytes_in_buffer = length;
  source->init_source = [](j_decompress_ptr) {};
  source->fill_input_buffer = endOfInput;
  source->skip_input_data = skip;
  source->resync_to_restart = jpeg_resync_to_restart;
  source->term_source = [](j_decompress_ptr) {};
  reading->src = source;
}

static boolean overflow(j_compress_ptr writing) {
  auto* sink = reinterpret_cast<JpegSink*>(writing->dest);
  if (sink->spilt) {
    auto* errors = reinterpret_cast<JpegErrors*>(writing->err);
    errors->base.msg_code = JERR_BUFFER_SIZE;
    errors->status = Status::full;
    leave(reinterpret_cast<j_common_ptr>(writing));
  }
  sink->spilt = true;
  sink->base.next_output_byte = sink->spill;
  sink->base.free_in_buffer = sizeof sink->spill;
  return TRUE;
}

void writeTo(j_compress_ptr writing, JpegSink* sink, uint8_t* out, size_t capacity) {
  sink->capacity = capacity;
  sink->length = 0;
  sink->spilt = capacity == 0;
  sink->base.next_output_byte = sink->spilt ? sink->spill : out;
  sink->base.free_in_buffer = sink->spilt ? sizeof sink->spill : capacity;
  sink->base.init_destination = [](j_compress_ptr) {};
  sink->base.empty_output_buffer = overflow;
  sink->base.term_destination = [](j_compress_ptr done) {
    auto* end = reinterpret_cast<JpegSink*>(done->dest);
    end->length = end->capacity + (end->spilt ? sizeof end->spill : 0) - end->base.free_in_buffer;
  };
  writing->dest = &sink->base;
}

void limit(j_decompress_ptr reading, jpeg_progress_mgr* progress) {
  *progress = {};
  progress->progress_monitor = [](j_common_ptr codec) {
    auto* decoder = reinterpret_cast<j_decompress_ptr>(codec);
    if (decoder->input_scan_number > mostScans) refuse(decoder, Status::unsupported, JERR_NOTIMPL);
  };
  reading->progress = progress;
}

void demand(j_decompress_ptr reading, uint32_t width, uint32_t height) {
  if (reading->image_width != width || reading->image_height != height) {
    refuse(reading, Status::corrupt, JERR_WIDTH_OVERFLOW);
  }
  if (reading->arith_code) refuse(reading, Status::unsupported, JERR_ARITH_NOTIMPL);
  switch (reading->jpeg_color_space) {
    case JCS_GRAYSCALE: case JCS_YCbCr: case JCS_RGB: break;
    default: refuse(reading, Status::unsupported, JERR_CONVERSION_NOTIMPL);
  }
}

// ---------------------------------------------------------------------------------------------

namespace {
struct Reading {
  JpegErrors errors;
  jpeg_decompress_struct codec;
  jpeg_source_mgr source;
  jpeg_progress_mgr progress;
  JDIMENSION left, width, top, bottom;
  size_t stride;
};
}  // namespace

static Status readAll(Reading* r, const Picture& picture, bool grey, int eighths, Box part,
                      Buffer* lines) {
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

  codec->scale_num = static_cast<unsigned>(eighths);
  codec->scale_denom = 8;
  codec->out_color_space = grey ? JCS_GRAYSCALE : JCS_EXT_RGB;
  codec->dct_method = JDCT_ISLOW;
  codec->do_fancy_upsampling = FALSE;
  jpeg_start_decompress(codec);

  const auto scaled = [eighths](int v) { return static_cast<JDIMENSION>(v * eighths); };
  r->left = scaled(part.x) / 8;
  r->top = scaled(part.y) / 8;
  r->width = std::min((scaled(part.x + part.width) + 7) / 8, codec->output_width) - r->left;
  r->bottom = std::min((scaled(part.y + part.height) + 7) / 8, codec->output_height);
  if (r->width < codec->output_width) jpeg_crop_scanline(codec, &r->left, &r->width);
  r->stride = size_t{codec->output_width} * static_cast<size_t>(codec->output_components);
  if (!lines->reserve(r->stride * (r->bottom - r->top))) {
    jpeg_destroy_decompress(codec);
    return Status::full;
  }
  if (r->top) jpeg_skip_scanlines(codec, r->top);
  while (codec->output_scanline < r->bottom) {
    JSAMPROW rows[8];
    const JDIMENSION left = r->bottom - codec->output_scanline;
    const JDIMENSION count = left < 8 ? left : 8;
    for (JDIMENSION i = 0; i < count; i++) {
      rows[i] = lines->as() + r->stride * (codec->output_scanline - r->top + i);
    }
    jpeg_read_scanlines(codec, rows, count);
  }
  jpeg_destroy_decompress(codec);
  return Status::ok;
}

Status readJpeg(const Picture& picture, bool grey, int eighths, Box part, Buffer* lines,
                char* message, Raster* raster) {
  Reading r = {};
  watch(&r.errors, message);
  const Status status = readAll(&r, picture, grey, eighths, part, lines);
  if (status != Status::ok) return status;
  *raster = {lines->as(), r.stride, r.width, r.bottom - r.top, r.left, r.top};
  return Status::ok;
}

}  // namespace pixels
