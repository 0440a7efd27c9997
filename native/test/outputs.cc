// Grey planes, model input and JPEGs against the reference: formats × turns × odd sizes × crops.
#include <algorithm>
#include <cmath>
#include <cstring>

#include <malloc.h>

#include "programs.h"
#include "reference.h"

using namespace pixels;
using reference::Area;

static const Turn turns[] = {{0, false}, {90, false}, {180, false}, {270, false},
                             {0, true},  {90, true},  {180, true},  {270, true}};
static const uint32_t rawFormats[] = {YUYV, NV12, RGB3, GREY};
static const TensorSpec nanodet = {true, {103.53f, 116.28f, 123.675f}, {57.375f, 57.12f, 58.395f}, 0};
static const TensorSpec plainRgb = {false, {0, 0, 0}, {255, 255, 255}, 114};

static const char* name(const scene::Stored& s) {
  static char text[5];
  memcpy(text, &s.picture.fourcc, 4);
  return text;
}

static void lumaLike(const scene::Stored& s, Turn turn, uint32_t width, uint32_t height, Scratch& scratch) {
  scene::Bytes out(size_t{width} * height + 1, 0xa5);
  const Status status = luma(s.picture, turn, width, height, out.data(), scratch);
  if (!expect::that(status == Status::ok, "luma %s is ok: %d", name(s), static_cast<int>(status))) return;
  expect::that(out.back() == 0xa5, "luma stays inside its output");
  const Box all = reference::whole(s.picture, turn);
  const double stepX = static_cast<double>(all.width) / width, stepY = static_cast<double>(all.height) / height;
  double worst = 0;
  for (uint32_t y = 0; y < height; y++) {
    for (uint32_t x = 0; x < width; x++) {
      const double wanted = reference::plain(s, turn, {x * stepX, y * stepY, (x + 1) * stepX, (y + 1) * stepY}, all);
      worst = std::max(worst, std::fabs(wanted - out[size_t{y} * width + x]));
    }
  }
  expect::that(worst <= 2.5, "luma %s %ux%u turned %d%s to %ux%u: off by %.2f", name(s), s.picture.width,
               s.picture.height, turn.rotate, turn.flip ? "m" : "", width, height, worst);
}

static void tensorLike(const scene::Stored& s, Turn turn, Box crop, uint32_t width, uint32_t height,
                       const TensorSpec& spec, Scratch& scratch) {
  std::vector<float> out(size_t{width} * height * 3 + 1, -77);
  Mapping mapping;
  const Status status = tensor(s.picture, turn, crop, width, height, spec, out.data(), &mapping, scratch);
  if (!expect::that(status == Status::ok, "tensor %s is ok: %d", name(s), static_cast<int>(status))) return;
  expect::that(out.back() == -77, "tensor stays inside its output");
  const double scale = std::min(static_cast<double>(width) / crop.width, static_cast<double>(height) / crop.height);
  expect::that(std::fabs(mapping.scale - scale) < 1e-6, "scale %.4f is %.4f", mapping.scale, scale);
  double worst = 0;
  for (uint32_t y = 0; y < height; y++) {
    for (uint32_t x = 0; x < width; x++) {
      // Back through the mapping, as the model's boxes go.
      const double x0 = (x - mapping.offsetX) / scale + crop.x, y0 = (y - mapping.offsetY) / scale + crop.y;
      const double x1 = x0 + 1 / scale, y1 = y0 + 1 / scale;
      const double mx = (x0 + x1) / 2 - crop.x, my = (y0 + y1) / 2 - crop.y;
      // Where a whole number of pixels does not fill the letter box, its last line may go either way.
      const double slack = 0.51 / scale;
      const bool within = mx > slack && my > slack && mx < crop.width - slack && my < crop.height - slack;
      const bool outside = mx < -slack || my < -slack || mx > crop.width + slack || my > crop.height + slack;
      if (!within && !outside) continue;
      reference::Colour c = {spec.pad, spec.pad, spec.pad, 0};
      if (within) c = reference::sample(s, turn, {x0, y0, x1, y1}, crop);
      const double wanted[3] = {spec.bgr ? c.blue : c.red, c.green, spec.bgr ? c.red : c.blue};
      for (int k = 0; k < 3; k++) {
        const float got = out[(static_cast<size_t>(k) * height + y) * width + x];
        worst = std::max(worst, std::fabs(got * spec.deviation[k] + spec.mean[k] - wanted[k]));
      }
    }
  }
  expect::that(worst <= 4, "tensor %s %ux%u turned %d%s, %d,%d %dx%d to %ux%u: off by %.2f", name(s),
               s.picture.width, s.picture.height, turn.rotate, turn.flip ? "m" : "", crop.x, crop.y,
               crop.width, crop.height, width, height, worst);
}

static void jpegLike(const scene::Stored& s, Turn turn, Box crop, uint32_t maxWidth, Scratch& scratch) {
  scene::Bytes out(size_t{s.picture.width} * s.picture.height * 6 + 4096, 0xa5);
  size_t length = 0;
  uint32_t width = 0, height = 0;
  const Status status = jpeg(s.picture, turn, crop, maxWidth, 98, out.data(), out.size() - 1, &length, &width, &height, scratch);
  if (!expect::that(status == Status::ok, "jpeg %s is ok: %d", name(s), static_cast<int>(status))) return;
  scene::Bytes rgb, greys;
  uint32_t w = 0, h = 0;
  expect::that(scene::decode(out.data(), length, true, 8, &greys, &w, &h), "a JPEG that opens");
  expect::that(scene::decode(out.data(), length, false, 8, &rgb, &w, &h, true), "a JPEG that opens");
  expect::that(check({out.data(), length, MJPG, width, height, 0}) == Status::ok, "a JPEG that check passes");
  const uint32_t right = maxWidth ? std::min(maxWidth, static_cast<uint32_t>(crop.width)) : static_cast<uint32_t>(crop.width);
  if (!expect::that(w == width && h == height && w == right, "size %ux%u is %ux%u", w, h, width, height)) return;
  const double stepX = static_cast<double>(crop.width) / w, stepY = static_cast<double>(crop.height) / h;
  double worst = 0, squares = 0;
  for (uint32_t y = 0; y < h; y++) {
    for (uint32_t x = 0; x < w; x++) {
      const Area area = {crop.x + x * stepX, crop.y + y * stepY, crop.x + (x + 1) * stepX, crop.y + (y + 1) * stepY};
      const reference::Colour c = reference::sample(s, turn, area, crop);
      const uint8_t* p = &rgb[(size_t{y} * w + x) * 3];
      worst = std::max(worst, std::fabs(greys[size_t{y} * w + x] - c.grey));
      squares += (std::pow(p[0] - c.red, 2) + std::pow(p[1] - c.green, 2) + std::pow(p[2] - c.blue, 2)) / 3;
    }
  }
  const double psnr = 10 * std::log10(255 * 255 / std::max(1e-9, squares / (w * h)));
  // Colour at half size blurs edges of colour, so brightness is the sharp test.
  expect::that(worst <= 5 && (psnr > 22 || w * h < 64), "jpeg %s %ux%u turned %d%s, %d,%d %dx%d to %u: grey off by %.1f, %.1f dB", name(s),
               s.picture.width, s.picture.height, turn.rotate, turn.flip ? "m" : "", crop.x, crop.y,
               crop.width, crop.height, maxWidth, worst, psnr);
}

// A decoded JPEG as a raw picture: what the partial and scaled decodes must agree with.
static scene::Stored decoded(const scene::Stored& s, bool grey, int eighths) {
  scene::Stored out;
  uint32_t width = 0, height = 0;
  scene::decode(s.bytes.data(), s.bytes.size(), grey, eighths, &out.bytes, &width, &height);
  out.single = grey;
  out.picture = {out.bytes.data(), out.bytes.size(), grey ? GREY : RGB3, width, height, width * (grey ? 1 : 3), true};
  return out;
}

static void jpegSources(Scratch& scratch) {
  const scene::JpegKind kinds[] = {{.across = 2, .down = 2}, {.across = 2, .down = 1}, {.across = 1, .down = 1},
                                   {.across = 1, .down = 2}, {.grey = true}, {.progressive = true},
                                   {.restart = true}, {.noTables = true}, {.optimised = true}};
  const uint32_t sizes[][2] = {{160, 96}, {161, 97}, {97, 131}};
  for (const auto& kind : kinds) {
    for (const auto& size : sizes) {
      const scene::Stored s = scene::jpeg(size[0], size[1], 3, kind);
      expect::that(check(s.picture) == Status::ok, "check passes");
      for (const int eighths : {1, 2, 4, 8}) {
        const scene::Stored small = decoded(s, true, eighths);
        scene::Bytes out(small.bytes.size());
        const Status status = luma(s.picture, {0, false}, small.picture.width, small.picture.height, out.data(), scratch);
        expect::that(status == Status::ok, "luma of a JPEG is ok");
        int worst = 0;
        for (size_t i = 0; i < out.size(); i++) worst = std::max(worst, std::abs(out[i] - small.bytes[i]));
        const bool exact = size[0] % 8 == 0 && size[1] % 8 == 0;
        expect::that(!exact || worst == 0, "luma at %d/8 is libjpeg's own: off by %d", eighths, worst);
      }
      const scene::Stored full = decoded(s, false, 8);
      for (const Turn turn : turns) {
        const Box all = reference::whole(s.picture, turn);
        const Box part = {all.width / 3 + 1, all.height / 4, all.width / 2 - 3, all.height / 2 + 5};
        // Larger than the crop: decoded whole, so the raw way must give the same numbers.
        tensorLike(full, turn, part, 192, 128, nanodet, scratch);
        std::vector<float> a(3 * 192 * 128), b(a.size());
        Mapping ma, mb;
        expect::that(tensor(s.picture, turn, part, 192, 128, nanodet, a.data(), &ma, scratch) == Status::ok, "tensor of a JPEG");
        expect::that(tensor(full.picture, turn, part, 192, 128, nanodet, b.data(), &mb, scratch) == Status::ok, "tensor of RGB");
        float worst = 0;
        for (size_t i = 0; i < a.size(); i++) worst = std::max(worst, std::fabs(a[i] - b[i]));
        expect::that(worst < 0.02f && !memcmp(&ma, &mb, sizeof ma), "a partial decode equals the whole one: %.3f", static_cast<double>(worst));
        // Smaller: decoded at half size, which is close to the average.
        expect::that(tensor(s.picture, turn, all, 64, 32, plainRgb, a.data(), &ma, scratch) == Status::ok, "small tensor of a JPEG");
        expect::that(tensor(full.picture, turn, all, 64, 32, plainRgb, b.data(), &mb, scratch) == Status::ok, "small tensor of RGB");
        double sum = 0;
        for (size_t i = 0; i < 3 * 64 * 32; i++) sum += std::fabs(a[i] - b[i]) * 255;
        expect::that(sum / (3 * 64 * 32) < 2.5, "scaled decode is %.2f from the average", sum / (3 * 64 * 32));
        jpegLike(full, turn, part, 0, scratch);
        scene::Bytes one(1 << 18), two(1 << 18);
        size_t lengthOne = 0, lengthTwo = 0;
        uint32_t w, h;
        expect::that(jpeg(s.picture, turn, part, 0, 80, one.data(), one.size(), &lengthOne, &w, &h, scratch) == Status::ok, "thumbnail");
        expect::that(jpeg(full.picture, turn, part, 0, 80, two.data(), two.size(), &lengthTwo, &w, &h, scratch) == Status::ok, "thumbnail");
        expect::that(lengthOne == lengthTwo && !memcmp(one.data(), two.data(), lengthOne), "a crop is cut from the whole");
      }
    }
  }
}

void outputs() {
  Scratch scratch;
  const uint32_t sizes[][2] = {{96, 64}, {97, 63}, {62, 97}, {33, 17}, {2, 2}, {1, 1}};
  for (const uint32_t format : rawFormats) {
    for (const auto& size : sizes) {
      for (const bool full : {false, true}) {
        const scene::Stored s = scene::raw(format, size[0], size[1], 5, full ? 0 : 18, full, full ? 12 : 0);
        for (const Turn turn : turns) {
          const Box all = reference::whole(s.picture, turn);
          lumaLike(s, turn, 16, 9, scratch);
          lumaLike(s, turn, 13, 21, scratch);
          lumaLike(s, turn, static_cast<uint32_t>(all.width), static_cast<uint32_t>(all.height), scratch);
          tensorLike(s, turn, all, 64, 32, nanodet, scratch);
          tensorLike(s, turn, all, 45, 77, plainRgb, scratch);
          jpegLike(s, turn, all, 0, scratch);
          if (size[0] < 30) continue;
          jpegLike(s, turn, all, 15, scratch);
          const Box part = {all.width / 3, all.height / 4 + 1, all.width / 2, all.height / 2 - 1};
          tensorLike(s, turn, part, 32, 32, nanodet, scratch);
          tensorLike(s, turn, part, 96, 64, nanodet, scratch);
          jpegLike(s, turn, part, 0, scratch);
          tensorLike(s, turn, {all.width - 7, all.height - 5, 7, 5}, 32, 32, plainRgb, scratch);
        }
      }
    }
  }
  jpegSources(scratch);

  // The same pictures again and again take no more memory.
  const scene::Stored again[] = {scene::jpeg(320, 180, 1), scene::raw(YUYV, 320, 180, 1), scene::raw(NV12, 320, 180, 1)};
  scene::Bytes out(1 << 20);
  std::vector<float> floats(3 * 96 * 64);
  size_t held = 0, allocated = 0;
  for (int round = 0; round < 60; round++) {
    for (const auto& s : again) {
      size_t length;
      uint32_t w, h;
      Mapping mapping;
      luma(s.picture, {0, false}, 80, 45, out.data(), scratch);
      tensor(s.picture, {0, false}, {10, 10, 200, 100}, 96, 64, nanodet, floats.data(), &mapping, scratch);
      jpeg(s.picture, {90, false}, {0, 0, 180, 320}, 0, 80, out.data(), out.size(), &length, &w, &h, scratch);
    }
    if (round == 9) held = scratch.bytes(), allocated = mallinfo2().uordblks;
  }
  expect::that(scratch.bytes() == held, "scratch stays at %zu bytes: %zu", held, scratch.bytes());
  expect::that(mallinfo2().uordblks <= allocated, "nothing leaks: %zu then %zu", allocated, mallinfo2().uordblks);
}

int correctness() {
  outputs();
  shared();
  masks();
  refusals();
  return expect::failures();
}
