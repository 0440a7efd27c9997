// A JPEG decoded once for several results: the same results, and really once.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "programs.h"
#include "reference.h"

using namespace pixels;

static const TensorSpec plain = {false, {0, 0, 0}, {1, 1, 1}, 0};
static const Turn turns[] = {{0, false}, {90, false}, {180, true}, {270, true}};

struct Input {
  std::vector<float> values;
  Status status;
};

static Input input(const Picture& picture, Turn turn, Box crop, uint32_t width, uint32_t height, Scratch& scratch) {
  Input out = {std::vector<float>(size_t{3} * width * height), Status::ok};
  Mapping mapping;
  out.status = tensor(picture, turn, crop, width, height, plain, out.values.data(), &mapping, scratch);
  return out;
}

static double apart(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
  return sum / static_cast<double>(a.size());
}

static void sameResults() {
  const scene::JpegKind kinds[] = {{.across = 2, .down = 2}, {.across = 2, .down = 1}, {.across = 1, .down = 1},
                                   {.across = 1, .down = 2}, {.across = 4, .down = 1}, {.grey = true},
                                   {.progressive = true}, {.restart = true}, {.noTables = true}};
  const uint32_t sizes[][2] = {{160, 96}, {161, 97}, {97, 131}, {17, 9}, {1, 1}};
  Scratch alone, together;
  uint64_t identity = 0;
  for (const auto& kind : kinds) {
    for (const auto& size : sizes) {
      const scene::Stored stored = scene::jpeg(size[0], size[1], 3, kind);
      // Coarse colours are repeated for RGB and averaged from their plane: not the same on edges.
      const double most = kind.grey || kind.across * kind.down == 1 ? 1.5 : 5;
      for (const double finest : {1.0, 2.0, 4.0, 8.0, 100.0}) {
        for (const Turn turn : turns) {
          Picture shared = stored.picture;
          shared.identity = ++identity;
          shared.finest = finest;
          const Box all = reference::whole(shared, turn);
          const auto least = [finest](int side) {
            return static_cast<uint32_t>(std::max(1.0, std::floor(side / std::min(8.0, finest))));
          };
          const uint32_t w = least(all.width), h = least(all.height);
          scene::Bytes one(size_t{w} * h), two(one.size());
          expect::that(luma(stored.picture, turn, w, h, one.data(), alone) == Status::ok, "luma alone");
          expect::that(luma(shared, turn, w, h, two.data(), together) == Status::ok, "luma shared");
          int worst = 0;
          for (size_t i = 0; i < one.size(); i++) worst = std::max(worst, std::abs(one[i] - two[i]));
          expect::that(worst <= 1, "shared luma %ux%u at 1/%.0f, turned %d: off by %d", size[0], size[1], finest, turn.rotate, worst);
          const Input a = input(stored.picture, turn, all, w, h, alone), b = input(shared, turn, all, w, h, together);
          expect::that(a.status == Status::ok && b.status == Status::ok, "tensor");
          expect::that(apart(a.values, b.values) < most, "shared tensor %ux%u, %dx%d samples, at 1/%.0f, turned %d: %.2f apart",
                       size[0], size[1], kind.across, kind.down, finest, turn.rotate, apart(a.values, b.values));
          if (all.width < 16 || all.height < 9) continue;
          const Box part = {all.width / 3, all.height / 4, all.width / 2, all.height / 2};
          const Input c = input(stored.picture, turn, part, 48, 32, alone), d = input(shared, turn, part, 48, 32, together);
          expect::that(apart(c.values, d.values) < most, "shared crop %.2f apart", apart(c.values, d.values));
        }
      }
    }
  }
}

static void decodedOnce() {
  scene::Stored first = scene::jpeg(160, 96, 5), second = scene::jpeg(160, 96, 6);
  Scratch scratch;
  Picture shared = first.picture;
  shared.identity = 7;
  shared.finest = 2;
  const Box all = {0, 0, 160, 96};
  scene::Bytes grey(20 * 12);
  expect::that(luma(shared, {0, false}, 20, 12, grey.data(), scratch) == Status::ok, "shared");
  const Input before = input(shared, {0, false}, all, 80, 48, scratch);
  // The bytes are gone: whatever is coarse enough still comes, the rest is decoded anew.
  scene::Bytes gone(first.bytes.size(), 0);
  Picture empty = shared;
  empty.data = gone.data();
  empty.finest = 0;
  const Input after = input(empty, {0, false}, all, 80, 48, scratch);
  expect::that(after.status == Status::ok && after.values == before.values, "decoded once");
  expect::that(input(empty, {0, false}, all, 160, 96, scratch).status == Status::corrupt, "too coarse for this");
  // Another picture, that is not to be shared, does not get the first one's planes, nor takes them away.
  Picture other = second.picture;
  other.identity = 8;
  const Input alone = input(other, {0, false}, all, 80, 48, scratch);
  expect::that(alone.status == Status::ok && apart(alone.values, before.values) > 1, "another picture");
  expect::that(input(empty, {0, false}, all, 80, 48, scratch).values == before.values, "still kept");
  // Finer, when asked for once more.
  shared.finest = 1;
  expect::that(input(shared, {0, false}, all, 160, 96, scratch).status == Status::ok, "finer");
  expect::that(input(empty, {0, false}, all, 160, 96, scratch).status == Status::ok, "kept finer");
  // The next shared picture takes its place; a damaged one leaves nothing behind.
  other.finest = 1;
  other.length /= 2;
  expect::that(input(other, {0, false}, all, 80, 48, scratch).status == Status::corrupt, "damaged");
  expect::that(input(other, {0, false}, all, 80, 48, scratch).status == Status::corrupt, "damaged again");
  expect::that(input(empty, {0, false}, all, 80, 48, scratch).status == Status::corrupt, "gone with the next");
  // A thumbnail is cut from the bytes, whatever is kept.
  shared.finest = 1;
  expect::that(luma(shared, {0, false}, 20, 12, grey.data(), scratch) == Status::ok, "shared again");
  scene::Bytes one(1 << 18), two(1 << 18);
  size_t lengthOne = 0, lengthTwo = 0;
  uint32_t w, h;
  Scratch fresh;
  expect::that(jpeg(shared, {0, false}, all, 0, 80, one.data(), one.size(), &lengthOne, &w, &h, scratch) == Status::ok, "jpeg");
  expect::that(jpeg(first.picture, {0, false}, all, 0, 80, two.data(), two.size(), &lengthTwo, &w, &h, fresh) == Status::ok, "jpeg");
  expect::that(lengthOne == lengthTwo && !memcmp(one.data(), two.data(), lengthOne), "the same thumbnail");
  // Colours that are not grey, blue and red are decoded for each call, as ever.
  scene::Stored rgb = scene::jpeg(160, 96, 5, {.across = 1, .down = 1, .rgb = true});
  const Input triples = input(rgb.picture, {0, false}, all, 80, 48, scratch);
  rgb.picture.identity = 9;
  rgb.picture.finest = 1;
  const Input again = input(rgb.picture, {0, false}, all, 80, 48, scratch);
  expect::that(again.status == Status::ok && again.values == triples.values, "a JPEG of red, green and blue");
}

void shared() {
  sameResults();
  decodedOnce();
}
