#include "scene.h"

#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <jpeglib.h>

namespace scene {

static uint8_t clip(double v) {
  return static_cast<uint8_t>(v < 0 ? 0 : v > 255 ? 255 : std::lround(v));
}

Bytes rgb(uint32_t width, uint32_t height, uint64_t seed, int grain) {
  Random random(seed);
  Bytes out(size_t{width} * height * 3);
  const double tilt = random.below(100) / 100.0, cx = random.below(100) / 100.0;
  for (uint32_t y = 0; y < height; y++) {
    for (uint32_t x = 0; x < width; x++) {
      const double u = (x + 0.5) / width, v = (y + 0.5) / height;
      double r = 60 + 120 * u * tilt + 30 * v, g = 80 + 70 * v, b = 140 - 90 * u * v;
      // A few hard-edged things of different colours, one of them thin.
      if (std::hypot(u - cx, (v - 0.6) * 0.6) < 0.15) r = 200, g = 60, b = 50;
      if (std::fabs(u - 0.7) < 0.06 && v > 0.25 && v < 0.95) r = 30, g = 40, b = 120;
      if (std::fabs(u - v) < 0.01) r = g = b = 240;
      const double noise = grain ? static_cast<double>(random.below(2u * grain + 1)) - grain : 0;
      uint8_t* pixel = &out[(size_t{y} * width + x) * 3];
      pixel[0] = clip(r + noise), pixel[1] = clip(g + noise), pixel[2] = clip(b + noise);
    }
  }
  return out;
}

double Stored::at(uint32_t x, uint32_t y, int channel) const {
  const uint8_t* d = bytes.data();
  const size_t stride = picture.stride;
  switch (picture.fourcc) {
    case pixels::GREY: return d[stride * y + x];
    case pixels::RGB3: return d[stride * y + size_t{3} * x + static_cast<size_t>(channel)];
    case pixels::YUYV:
      return channel ? d[stride * y + x / 2 * 4 + (channel == 1 ? 1 : 3)] : d[stride * y + 2 * x];
    default:
      return channel ? d[stride * (picture.height + y / 2) + x / 2 * 2 + (channel == 1 ? 0 : 1)]
                     : d[stride * y + x];
  }
}

Stored raw(uint32_t fourcc, uint32_t width, uint32_t height, uint64_t seed, uint32_t padding,
           bool full, int grain) {
  const uint32_t even = (width + 1) / 2 * 2, halfHeight = (height + 1) / 2;
  uint32_t line = width, lines = height;
  if (fourcc == pixels::YUYV) line = even * 2;
  if (fourcc == pixels::NV12) line = even, lines += halfHeight;
  if (fourcc == pixels::RGB3) line = width * 3;
  const uint32_t stride = line + padding;
  Stored out;
  out.bytes.resize(size_t{stride} * lines);
  out.ycc = fourcc == pixels::YUYV || fourcc == pixels::NV12;
  out.single = fourcc == pixels::GREY;
  Random random(seed + 7);
  for (uint8_t& byte : out.bytes) byte = static_cast<uint8_t>(random.next());
  const Bytes source = rgb(width, height, seed, grain);
  const double scaleY = full ? 1 : 219.0 / 255, scaleC = full ? 1 : 224.0 / 255, zero = full ? 0 : 16;
  for (uint32_t y = 0; y < height; y++) {
    for (uint32_t x = 0; x < width; x++) {
      const uint8_t* p = &source[(size_t{y} * width + x) * 3];
      const uint8_t luma = clip(zero + scaleY * (0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]));
      const uint8_t cb = clip(128 + scaleC * (-0.168736 * p[0] - 0.331264 * p[1] + 0.5 * p[2]));
      const uint8_t cr = clip(128 + scaleC * (0.5 * p[0] - 0.418688 * p[1] - 0.081312 * p[2]));
      uint8_t* d = out.bytes.data() + size_t{stride} * y;
      if (fourcc == pixels::GREY) d[x] = luma;
      if (fourcc == pixels::RGB3) memcpy(d + 3 * x, p, 3);
      if (fourcc == pixels::YUYV) {
        d[2 * x] = luma;
        d[x / 2 * 4 + 1] = cb, d[x / 2 * 4 + 3] = cr;
      }
      if (fourcc == pixels::NV12) {
        d[x] = luma;
        uint8_t* c = out.bytes.data() + size_t{stride} * (height + y / 2) + x / 2 * 2;
        c[0] = cb, c[1] = cr;
      }
    }
  }
  out.picture = {out.bytes.data(), out.bytes.size(), fourcc, width, height, stride, full};
  return out;
}

Stored jpeg(uint32_t width, uint32_t height, uint64_t seed, const JpegKind& kind, int grain) {
  const Bytes source = rgb(width, height, seed, grain);
  jpeg_compress_struct codec = {};
  jpeg_error_mgr errors;
  codec.err = jpeg_std_error(&errors);
  jpeg_create_compress(&codec);
  unsigned char* memory = nullptr;
  unsigned long length = 0;
  jpeg_mem_dest(&codec, &memory, &length);
  codec.image_width = width;
  codec.image_height = height;
  codec.input_components = 3;
  codec.in_color_space = JCS_RGB;
  jpeg_set_defaults(&codec);
  if (kind.grey) jpeg_set_colorspace(&codec, JCS_GRAYSCALE);
  if (kind.rgb) jpeg_set_colorspace(&codec, JCS_RGB);
  jpeg_set_quality(&codec, kind.quality, TRUE);
  codec.comp_info[0].h_samp_factor = kind.grey ? 1 : kind.across;
  codec.comp_info[0].v_samp_factor = kind.grey ? 1 : kind.down;
  if (kind.progressive) jpeg_simple_progression(&codec);
  codec.arith_code = kind.arithmetic;
  codec.optimize_coding = kind.optimised;
  if (kind.restart) codec.restart_in_rows = 1;
  if (kind.noTables) {
    jpeg_suppress_tables(&codec, FALSE);
    for (JQUANT_TBL* table : codec.quant_tbl_ptrs) if (table) table->sent_table = FALSE;
    for (int i = 0; i < NUM_HUFF_TBLS; i++) {
      if (codec.dc_huff_tbl_ptrs[i]) codec.dc_huff_tbl_ptrs[i]->sent_table = TRUE;
      if (codec.ac_huff_tbl_ptrs[i]) codec.ac_huff_tbl_ptrs[i]->sent_table = TRUE;
    }
  }
  jpeg_start_compress(&codec, kind.noTables ? FALSE : TRUE);
  if (!kind.metadata.empty()) {
    jpeg_write_marker(&codec, JPEG_APP0 + 1, kind.metadata.data(),
                      static_cast<unsigned>(kind.metadata.size()));
  }
  while (codec.next_scanline < height) {
    JSAMPROW row = const_cast<JSAMPROW>(&source[size_t{codec.next_scanline} * width * 3]);
    jpeg_write_scanlines(&codec, &row, 1);
  }
  jpeg_finish_compress(&codec);
  jpeg_destroy_compress(&codec);
  Stored out;
  out.bytes.assign(memory, memory + length);
  free(memory);
  out.picture = {out.bytes.data(), out.bytes.size(), pixels::MJPG, width, height, 0};
  return out;
}

struct Errors {
  jpeg_error_mgr base;
  jmp_buf back;
};

static void quiet(Errors* errors) {
  jpeg_std_error(&errors->base);
  errors->base.error_exit = [](j_common_ptr c) {
    longjmp(reinterpret_cast<Errors*>(c->err)->back, 1);
  };
  errors->base.emit_message = [](j_common_ptr, int) {};
}

bool decode(const uint8_t* data, size_t length, bool grey, int eighths, Bytes* out, uint32_t* width,
            uint32_t* height, bool fancy) {
  jpeg_decompress_struct codec = {};
  Errors errors;
  quiet(&errors);
  codec.err = &errors.base;
  if (setjmp(errors.back)) {
    jpeg_destroy_decompress(&codec);
    return false;
  }
  jpeg_create_decompress(&codec);
  jpeg_mem_src(&codec, data, length);
  jpeg_read_header(&codec, TRUE);
  codec.scale_num = static_cast<unsigned>(eighths);
  codec.scale_denom = 8;
  codec.out_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;
  codec.do_fancy_upsampling = fancy;
  jpeg_start_decompress(&codec);
  const size_t stride = size_t{codec.output_width} * static_cast<size_t>(codec.output_components);
  out->resize(stride * codec.output_height);
  while (codec.output_scanline < codec.output_height) {
    JSAMPROW row = out->data() + stride * codec.output_scanline;
    jpeg_read_scanlines(&codec, &row, 1);
  }
  *width = codec.output_width;
  *height = codec.output_height;
  jpeg_finish_decompress(&codec);
  jpeg_destroy_decompress(&codec);
  return true;
}

bool coefficients(const uint8_t* data, size_t length, Coefficients* out) {
  jpeg_decompress_struct codec = {};
  Errors errors;
  quiet(&errors);
  codec.err = &errors.base;
  if (setjmp(errors.back)) {
    jpeg_destroy_decompress(&codec);
    return false;
  }
  jpeg_create_decompress(&codec);
  jpeg_mem_src(&codec, data, length);
  for (int i = 1; i < 16; i++) jpeg_save_markers(&codec, JPEG_APP0 + i, 0xffff);
  jpeg_save_markers(&codec, JPEG_COM, 0xffff);
  jpeg_read_header(&codec, TRUE);
  jvirt_barray_ptr* arrays = jpeg_read_coefficients(&codec);
  *out = {codec.max_h_samp_factor * 8, codec.max_v_samp_factor * 8, {}, {}, codec.marker_list != nullptr};
  for (int c = 0; c < codec.num_components; c++) {
    const jpeg_component_info& info = codec.comp_info[c];
    Coefficients::Component component = {info.width_in_blocks, info.height_in_blocks,
                                         info.h_samp_factor, info.v_samp_factor, {}};
    for (JDIMENSION row = 0; row < info.height_in_blocks; row++) {
      JBLOCKARRAY blocks = codec.mem->access_virt_barray(reinterpret_cast<j_common_ptr>(&codec),
                                                         arrays[c], row, 1, FALSE);
      const int16_t* first = &blocks[0][0][0];
      component.values.insert(component.values.end(), first, first + info.width_in_blocks * 64);
    }
    out->components.push_back(component);
    for (int i = 0; i < 64; i++) out->tables.push_back(info.quant_table->quantval[i]);
  }
  jpeg_finish_decompress(&codec);
  jpeg_destroy_decompress(&codec);
  return true;
}

}  // namespace scene
