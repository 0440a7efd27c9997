// How long each way through `pixels` takes, as lines of JSON. Ratios are between calls of one run,
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

static double alone(int rounds, const std::function<void()>& work) {
  return against(rounds, work, [] {}).first;
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
    const auto line = [&](const char* what, double ms) {
      printf("{\"bench\":\"pixels/%s\",\"format\":\"%s\",\"ms\":%.3f}\n", what, source.name, ms);
    };
    for (const uint32_t width : {320u, 160u}) {
      const auto work = [&] {
        must(luma(picture, upright, width, width * 9 / 16, grey.data(), scratch), "luma");
      };
      const std::string what = "luma-" + std::to_string(width);
      if (!isJpeg) {
        line(what.c_str(), alone(rounds, work));
        continue;
      }
      scene::Bytes bare;
      uint32_t w, h;
      const Timed t = against(rounds, work, [&] {
        scene::decode(picture.data, picture.length, true, 2, &bare, &w, &h);
      });
      printf("{\"bench\":\"pixels/%s\",\"format\":\"MJPG\",\"ms\":%.3f,\"bareMs\":%.3f,\"ratio\":%.3f}\n",
             what.c_str(), t.first, t.second, t.first / t.second);
    }
    Mapping mapping;
    line("tensor-416x256", alone(rounds, [&] {
      must(tensor(picture, upright, whole, 416, 256, spec, floats.data(), &mapping, scratch), "tensor");
    }));
    line("tensor-crop-192x192", alone(rounds, [&] {
      must(tensor(picture, upright, part, 192, 192, spec, floats.data(), &mapping, scratch), "tensor");
    }));
    size_t length;
    uint32_t w, h;
    for (const int rotate : {0, 90}) {
      line(rotate ? "jpeg-turned" : "jpeg", alone(rounds, [&] {
        must(jpeg(picture, {rotate, false}, rotate ? Box{0, 0, whole.height, whole.width} : whole, 0,
                  80, coded.data(), coded.size(), &length, &w, &h, scratch), "jpeg");
      }));
    }
    line("check", alone(rounds, [&] { must(check(picture), "check"); }));
    const Polygons polygons = {{{0.1f, 0.1f}, {0.4f, 0.15f}, {0.3f, 0.5f}}};
    std::vector<uint8_t> copy(picture.length * 2);
    line("mask", alone(rounds, [&] {
      memcpy(copy.data(), picture.data, picture.length);
      Picture own = picture;
      own.data = copy.data();
      must(mask(copy.data(), &length, copy.size(), own, upright, polygons, scratch), "mask");
    }));
  }
  printf("{\"bench\":\"pixels/scratch\",\"bytes\":%zu}\n", scratch.bytes());
  return 0;
}
