// How long each way through `pixels` takes, as lines of JSON that scripts/bench/pixels.ts reads. Ratios are between calls of one run,
// taken in turns, so that they hold on a busy machine too.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "programs.h"
#include "scene.h"

using namespace pixels;
using Clock = std::chrono::steady_clock;

static double once(const std::function<void()>& work) {
  const auto from = Clock::now();
  work();
  return std::chrono::duration<double, std::milli>(Clock::now() - from).count();
}

struct Timed {
  double first, second;  // medians, ms
};

static Timed against(int rounds, const std::function<void()>& first,
                     const std::function<void()>& second) {
  std::vector<double> a, b;
  for (int i = 0; i < rounds; i++) {
    a.push_back(once(first));
    b.push_back(once(second));
  }
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return {a[a.size() / 2], b[b.size() / 2]};
}

static void must(Status status, const char* what) {
  if (status == Status::ok) return;
  fprintf(stderr, "%s: status %d\n", what, static_cast<int>(status));
  exit(1);
}

static scene::Stored footage() {
  const char* path = getenv("PIXELS_JPEG");
  if (!path) return scene::jpeg(1280, 720, 1, {80, 2, 1}, 6);
  scene::Stored out;
  FILE* file = fopen(path, "rb");
  uint8_t block[65536];
  size_t got = 0;
  while (file && (got = fread(block, 1, sizeof block, file))) {
    out.bytes.insert(out.bytes.end(), block, block + got);
  }
  if (file) fclose(file);
  uint32_t width = 0, height = 0;
  must(probe(out.bytes.data(), out.bytes.size(), &width, &height), path);
  out.picture = {out.bytes.data(), out.bytes.size(), MJPG, width, height, 0};
  return out;
}

int bench(int rounds) {
  Scratch scratch;
  std::vector<uint8_t> grey(1280 * 720), coded(1280 * 720 * 4);
  std::vector<float> floats(3 * 416 * 256);
  const TensorSpec spec = {true, {103.53f, 116.28f, 123.675f}, {57.375f, 57.12f, 58.395f}, 0};
  const Turn upright = {0, false};
  const struct {
    const char* name;
    scene::Stored stored;
  } sources[] = {{"MJPG", footage()},
                 {"YUYV", scene::raw(YUYV, 1280, 720, 1)},
                 {"NV12", scene::raw(NV12, 1280, 720, 1)},
                 {"RGB3", scene::raw(RGB3, 1280, 720, 1)},
                 {"GREY", scene::raw(GREY, 1280, 720, 1)}};

  for (const auto& source : sources) {
    const Picture& picture = source.stored.picture;
    const Box whole = {0, 0, static_cast<int>(picture.width), static_cast<int>(picture.height)};
    const Box part = {whole.width / 2, whole.height / 3, whole.width / 4, whole.height / 3};
    const bool isJpeg = picture.fourcc == MJPG;
    // A raw picture is held against a copy of its bytes, a JPEG against libjpeg doing the least.
    scene::Bytes copy(picture.length * 2), bare;
    const auto line = [&](const std::string& what, bool grey, int eighths, const std::function<void()>& work) {
      uint32_t w, h;
      const Timed t = against(rounds, work, [&] {
        if (isJpeg) scene::decode(picture.data, picture.length, grey, eighths, &bare, &w, &h);
        else memcpy(copy.data(), picture.data, picture.length);
      });
      printf("{\"path\":\"%s\",\"format\":\"%s\",\"ratio\":%.3f,\"ms\":%.3f,\"bareMs\":%.3f,\"bare\":\"%s\"}\n",
             what.c_str(), source.name, t.first / t.second, t.first, t.second,
             !isJpeg ? "memcpy" : ("libjpeg, " + std::string(grey ? "grey" : "RGB") + " at " + std::to_string(eighths) + "/8").c_str());
    };
    for (const uint32_t width : {320u, 160u}) {
      line("luma " + std::to_string(width), true, width == 320 ? 2 : 1, [&] {
        must(luma(picture, upright, width, width * 9 / 16, grey.data(), scratch), "luma");
      });
    }
    Mapping mapping;
    line("tensor 416x256", false, 4, [&] {
      must(tensor(picture, upright, whole, 416, 256, spec, floats.data(), &mapping, scratch), "tensor");
    });
    line("tensor 192x192 of a crop", false, 8, [&] {
      must(tensor(picture, upright, part, 192, 192, spec, floats.data(), &mapping, scratch), "tensor");
    });
    uint64_t identity = 0;
    line("luma 160, tensor 416x256, two crops, shared", false, 8, [&] {
      Picture shared = picture;
      shared.identity = ++identity;
      shared.finest = 1;
      must(luma(shared, upright, 160, 90, grey.data(), scratch), "luma");
      must(tensor(shared, upright, whole, 416, 256, spec, floats.data(), &mapping, scratch), "tensor");
      for (int i = 0; i < 2; i++) {
        must(tensor(shared, upright, part, 192, 192, spec, floats.data(), &mapping, scratch), "tensor");
      }
    });
    size_t length;
    uint32_t w, h;
    for (const int rotate : {0, 90}) {
      line(rotate ? "jpeg, turned" : "jpeg", false, 8, [&] {
        must(jpeg(picture, {rotate, false}, rotate ? Box{0, 0, whole.height, whole.width} : whole, 0,
                  80, coded.data(), coded.size(), &length, &w, &h, scratch), "jpeg");
      });
    }
    line("check", true, 1, [&] { must(check(picture), "check"); });
    const Polygons polygons = {{{0.1f, 0.1f}, {0.4f, 0.15f}, {0.3f, 0.5f}}};
    scene::Bytes shown(picture.length * 2);
    line("mask", false, 8, [&] {
      memcpy(shown.data(), picture.data, picture.length);
      Picture own = picture;
      own.data = shown.data();
      must(mask(shown.data(), &length, shown.size(), own, upright, polygons, scratch), "mask");
    });
  }
  return 0;
}
