// What is not a picture, or cannot be done, is refused with the right word and within bounds.
#include <cmath>
#include <cstring>

#include "programs.h"
#include "reference.h"

using namespace pixels;

static void is(Status got, Status wanted, const char* what) {
  expect::that(got == wanted, "%s: %d, not %d", what, static_cast<int>(got), static_cast<int>(wanted));
}

static Status checked(const scene::Bytes& bytes, uint32_t fourcc, uint32_t width, uint32_t height, uint32_t stride = 0) {
  return check({bytes.data(), bytes.size(), fourcc, width, height, stride});
}

static size_t find(const scene::Bytes& bytes, uint8_t marker, size_t from = 0) {
  for (size_t i = from; i + 1 < bytes.size(); i++) if (bytes[i] == 0xff && bytes[i + 1] == marker) return i;
  return 0;
}

static void checks() {
  const scene::Bytes good = scene::jpeg(96, 64, 1).bytes;
  is(checked(good, MJPG, 96, 64), Status::ok, "a JPEG");
  is(checked(good, MJPG, 96, 63), Status::corrupt, "not the promised size");
  scene::Bytes cut(good.begin(), good.end() - 2);
  is(checked(cut, MJPG, 96, 64), Status::corrupt, "no end");
  scene::Bytes padded = good;
  padded.resize(good.size() + 20000);
  is(checked(padded, MJPG, 96, 64), Status::ok, "zeros behind the end");
  padded.insert(padded.begin() + static_cast<long>(good.size()), 100, 0x55);
  is(checked(padded, MJPG, 96, 64), Status::ok, "rubbish behind the end");
  for (size_t i = 0; i < find(good, 0xda); i++) {
    is(checked(scene::Bytes(good.begin(), good.begin() + static_cast<long>(i)), MJPG, 96, 64), Status::corrupt, "a piece");
  }
  is(checked({}, MJPG, 96, 64), Status::corrupt, "nothing");
  uint32_t w = 0, h = 0;
  scene::Bytes huge = good;
  const size_t frame = find(huge, 0xc0);
  huge[frame + 5] = huge[frame + 7] = 0xff;
  is(probe(huge.data(), huge.size(), &w, &h), Status::unsupported, "65,000 pixels wide");
  is(probe(good.data(), good.size(), &w, &h), Status::ok, "probe");
  expect::that(w == 96 && h == 64, "probe reads %ux%u", w, h);
  scene::Bytes deep = good;
  deep[frame + 4] = 12;
  is(checked(deep, MJPG, 96, 64), Status::unsupported, "12 bits");
  is(checked(scene::jpeg(96, 64, 1, {.arithmetic = true}).bytes, MJPG, 96, 64), Status::unsupported, "arithmetic coding");
  for (const uint32_t format : {YUYV, NV12, RGB3, GREY}) {
    const scene::Stored s = scene::raw(format, 31, 17, 1, 6);
    is(check(s.picture), Status::ok, "raw");
    Picture p = s.picture;
    p.length -= 6;
    is(check(p), Status::ok, "no padding after the last line");
    p.length--;
    is(check(p), Status::corrupt, "a byte short");
    p = s.picture, p.stride = 30;
    is(check(p), Status::misuse, "lines that overlap");
  }
  is(checked(good, fourcc('B', 'A', '8', '1'), 96, 64), Status::unsupported, "Bayer");
  is(checked(good, GREY, 0, 64), Status::misuse, "no width");
  is(checked(good, GREY, 20000, 1), Status::unsupported, "too wide");
}

static const TensorSpec spec = {false, {0, 0, 0}, {1, 1, 1}, 0};

// Every function on one picture; all must say the same.
static void all(const scene::Stored& s, Status wanted, const char* what) {
  Scratch scratch;
  const Box box = {0, 0, static_cast<int>(s.picture.width), static_cast<int>(s.picture.height)};
  scene::Bytes out(1 << 18);
  std::vector<float> floats(3 * 64 * 64);
  Mapping mapping;
  size_t length = 0;
  uint32_t w, h;
  is(luma(s.picture, {0, false}, 48, 32, out.data(), scratch), wanted, what);
  is(tensor(s.picture, {0, false}, box, 64, 64, spec, floats.data(), &mapping, scratch), wanted, what);
  is(jpeg(s.picture, {0, false}, box, 0, 80, out.data(), out.size(), &length, &w, &h, scratch), wanted, what);
  scene::Bytes own = s.bytes;
  own.resize(own.size() * 2 + 4096);
  Picture p = s.picture;
  p.data = own.data();
  is(mask(own.data(), &length, own.size(), p, {0, false}, {{{0, 0}, {0.3f, 0}, {0, 0.3f}}}, scratch), wanted, what);
}

static scene::Stored with(scene::Stored s, scene::Bytes bytes) {
  s.bytes = bytes;
  s.picture.data = s.bytes.data();
  s.picture.length = s.bytes.size();
  return s;
}

static void damage() {
  scene::Stored good = scene::jpeg(160, 120, 1);
  all(with(good, good.bytes), Status::ok, "good");
  scene::Bytes half(good.bytes.begin(), good.bytes.begin() + static_cast<long>(good.bytes.size() / 2));
  all(with(good, half), Status::corrupt, "half a picture");
  half.push_back(0xff), half.push_back(0xd9);
  all(with(good, half), Status::corrupt, "half a picture with an end");
  scene::Bytes tables = good.bytes;
  const size_t quantisation = find(tables, 0xdb);
  tables.erase(tables.begin() + static_cast<long>(quantisation), tables.begin() + static_cast<long>(quantisation) + 2 + tables[quantisation + 3]);
  all(with(good, tables), Status::corrupt, "a quantisation table missing");
  all(scene::jpeg(160, 120, 1, {.arithmetic = true}), Status::unsupported, "arithmetic coding");
  // Some webcams spoil the last units of every picture. That much is let pass.
  scene::Bytes tail = good.bytes;
  tail.resize(tail.size() - 40);
  tail.push_back(0xff), tail.push_back(0xd9);
  all(with(good, tail), Status::ok, "the last few units missing");

  // A scan that costs ten bytes and a pass over the whole picture, five thousand times.
  scene::Stored many = scene::jpeg(160, 120, 1, {.progressive = true});
  size_t scan = 0;
  for (size_t at = find(many.bytes, 0xda); at; at = find(many.bytes, 0xda, at + 2)) scan = at;
  const scene::Bytes last(many.bytes.begin() + static_cast<long>(scan), many.bytes.end() - 2);
  scene::Bytes bomb(many.bytes.begin(), many.bytes.end() - 2);
  for (int i = 0; i < 5000; i++) bomb.insert(bomb.end(), last.begin(), last.end());
  bomb.push_back(0xff), bomb.push_back(0xd9);
  Scratch scratch;
  scene::Bytes out(48 * 32);
  const Status status = luma(with(many, bomb).picture, {0, false}, 48, 32, out.data(), scratch);
  expect::that(status != Status::ok, "a bomb of scans is refused: %s", scratch.message());
}

static void arguments() {
  const scene::Stored s = scene::raw(YUYV, 64, 48, 1);
  const scene::Stored j = scene::jpeg(64, 48, 1);
  Scratch scratch;
  std::vector<float> floats(3 * 64 * 64);
  Mapping mapping;
  const Box wrong[] = {{-1, 0, 10, 10}, {0, 0, 65, 10}, {0, 0, 10, 49}, {60, 0, 5, 5}, {0, 0, 0, 5}, {0, 0, 5, 0}, {2147483647, 0, 5, 5}, {0, 0, -5, 5}};
  size_t length = 99;
  uint32_t w, h;
  scene::Bytes out(1 << 18, 0xa5);
  for (const auto* source : {&s, &j}) {
    for (const Box& box : wrong) {
      is(tensor(source->picture, {0, false}, box, 32, 32, spec, floats.data(), &mapping, scratch), Status::misuse, "a crop outside");
      is(jpeg(source->picture, {0, false}, box, 0, 80, out.data(), out.size(), &length, &w, &h, scratch), Status::misuse, "a crop outside");
    }
    is(tensor(source->picture, {90, false}, {0, 0, 64, 48}, 32, 32, spec, floats.data(), &mapping, scratch), Status::misuse, "a crop of the unturned picture");
    is(luma(source->picture, {45, false}, 8, 8, out.data(), scratch), Status::misuse, "half turned");
    is(luma(source->picture, {0, false}, 0, 8, out.data(), scratch), Status::misuse, "nothing wanted");
    is(jpeg(source->picture, {0, false}, {0, 0, 64, 48}, 0, 0, out.data(), out.size(), &length, &w, &h, scratch), Status::misuse, "quality 0");
    const TensorSpec zero = {false, {0, 0, 0}, {1, 0, 1}, 0};
    is(tensor(source->picture, {0, false}, {0, 0, 64, 48}, 32, 32, zero, floats.data(), &mapping, scratch), Status::misuse, "deviation 0");
    scene::Bytes own = source->bytes;
    Picture p = source->picture;
    p.data = own.data();
    is(mask(own.data(), &length, own.size(), p, {0, false}, {{{0, 0}, {1, 1}}}, scratch), Status::misuse, "two corners");
    is(mask(own.data(), &length, own.size(), p, {0, false}, {{{0, 0}, {1, NAN}, {1, 1}}}, scratch), Status::misuse, "no number");
    is(mask(own.data(), &length, own.size() - 1, p, {0, false}, {{{0, 0}, {1, 0}, {1, 1}}}, scratch), Status::misuse, "less room than picture");
    is(mask(own.data(), &length, own.size(), p, {0, false}, {}, scratch), Status::ok, "no mask");
    expect::that(own == source->bytes && length == own.size(), "no mask, no change");
    // Every capacity up to enough: full, and not a byte too far.
    is(jpeg(source->picture, {0, false}, {0, 0, 64, 48}, 0, 80, out.data(), out.size(), &length, &w, &h, scratch), Status::ok, "jpeg");
    const size_t enough = length;
    for (size_t capacity = 0; capacity < enough; capacity += 1 + capacity / 8) {
      scene::Bytes little(capacity + 1, 0xa5);
      is(jpeg(source->picture, {0, false}, {0, 0, 64, 48}, 0, 80, little.data(), capacity, &length, &w, &h, scratch), Status::full, "too little room");
      expect::that(little[capacity] == 0xa5 && length == enough, "not a byte too far");
    }
    scene::Bytes just(enough);
    is(jpeg(source->picture, {0, false}, {0, 0, 64, 48}, 0, 80, just.data(), enough, &length, &w, &h, scratch), Status::ok, "just enough room");
  }
}

void refusals() {
  checks();
  damage();
  arguments();
}
