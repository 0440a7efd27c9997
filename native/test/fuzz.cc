// Mutated pictures of every format through every function. What counts: no crash, no byte outside
// the output, an answer for everything, and a mask that says `ok` has done its work.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

#include "programs.h"
#include "reference.h"

using namespace pixels;
using scene::Bytes;
using scene::Random;

static const char* const words[] = {"ok", "corrupt", "unsupported", "full", "misuse"};
static std::map<std::string, std::map<std::string, uint32_t>> counts;

static Status count(const char* kind, const char* function, Status status) {
  const int word = static_cast<int>(status);
  const bool known = word >= 0 && word < 5;
  expect::that(known, "%s answers %d", function, word);
  counts[std::string(kind) + " " + function][known ? words[word] : "?"]++;
  return status;
}

// Where the entropy-coded part starts: mutations behind it get past every look at the headers.
static size_t scanOf(const Bytes& bytes) {
  for (size_t i = 2; i + 3 < bytes.size();) {
    if (bytes[i] != 0xff) return i;
    if (bytes[i + 1] == 0xda) return i + 2 + (size_t{bytes[i + 2]} << 8 | bytes[i + 3]);
    i += 2 + (size_t{bytes[i + 2]} << 8 | bytes[i + 3]);
  }
  return bytes.size() / 2;
}

static void mutate(Bytes* bytes, size_t from, size_t to, Random& random) {
  if (from >= to) return;
  const auto place = [&] { return from + random.below(static_cast<uint32_t>(to - from)); };
  static const uint8_t markers[] = {0xc0, 0xc1, 0xc2, 0xc4, 0xc9, 0xd0, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdd, 0xe1, 0xfe, 0x00, 0xff};
  for (uint32_t n = 1 + random.below(4); n; n--) {
    const size_t at = place();
    switch (random.below(6)) {
      case 0: (*bytes)[at] ^= static_cast<uint8_t>(1u << random.below(8)); break;
      case 1: (*bytes)[at] = static_cast<uint8_t>(random.next()); break;
      case 2: (*bytes)[at] = random.below(2) ? 0xff : 0; break;
      case 3:
        if (at + 1 < to) (*bytes)[at] = 0xff, (*bytes)[at + 1] = markers[random.below(sizeof markers)];
        break;
      case 4: {  // a piece from elsewhere
        const size_t other = place(), length = std::min<size_t>(random.below(64), to - std::max(at, other));
        memmove(bytes->data() + at, bytes->data() + other, length);
        break;
      }
      default: {  // a hole, filled at the end
        const size_t length = std::min<size_t>(random.below(32), to - at);
        memmove(bytes->data() + at, bytes->data() + at + length, bytes->size() - at - length);
      }
    }
  }
}

static void through(const scene::Stored& s, const char* kind, Random& random, Scratch& scratch) {
  const Picture& p = s.picture;
  const Turn turn = {static_cast<int>(random.below(4)) * 90, random.below(2) == 1};
  const Box all = reference::whole(p, turn);
  Box box = all;
  if (random.below(2)) {
    box.width = 1 + static_cast<int>(random.below(static_cast<uint32_t>(all.width)));
    box.height = 1 + static_cast<int>(random.below(static_cast<uint32_t>(all.height)));
    box.x = static_cast<int>(random.below(static_cast<uint32_t>(all.width - box.width + 1)));
    box.y = static_cast<int>(random.below(static_cast<uint32_t>(all.height - box.height + 1)));
  }
  const uint32_t width = 1 + random.below(70), height = 1 + random.below(70);
  uint32_t w = 0, h = 0;
  count(kind, "check", check(p));
  if (p.fourcc == MJPG) {
    const Status status = count(kind, "probe", probe(p.data, p.length, &w, &h));
    expect::that(status != Status::ok || (w && h && uint64_t{w} * h <= mostPixels), "probe says %u×%u", w, h);
  }
  // Exactly as large as promised, so that the sanitizer sees every byte beyond.
  Bytes out(size_t{width} * height);
  count(kind, "luma", luma(p, turn, width, height, out.data(), scratch));
  std::vector<float> floats(size_t{width} * height * 3);
  const TensorSpec spec = {true, {1, 2, 3}, {4, 5, 6}, 114};
  Mapping mapping;
  count(kind, "tensor", tensor(p, turn, box, width, height, spec, floats.data(), &mapping, scratch));
  static uint64_t identity = 0;
  Picture shared = p;
  shared.identity = ++identity;
  shared.finest = 1 + random.below(9);
  if (count(kind, "luma, shared", luma(shared, turn, width, height, out.data(), scratch)) == Status::ok) {
    count(kind, "tensor, shared", tensor(shared, turn, box, width, height, spec, floats.data(), &mapping, scratch));
  }
  Bytes coded(random.below(4) ? 65536 : random.below(3000));
  size_t length = 0;
  if (coded.empty()) coded.resize(1);
  const Status status = count(kind, "jpeg", jpeg(p, turn, box, random.below(2) * width, 1 + static_cast<int>(random.below(100)), coded.data(), coded.size(), &length, &w, &h, scratch));
  expect::that(status != Status::ok || check({coded.data(), length, MJPG, w, h, 0}) == Status::ok, "what jpeg wrote is one");

  Bytes own(p.length + (p.fourcc == MJPG ? random.below(20000) : 0));
  if (p.length) memcpy(own.data(), p.data, p.length);
  Picture masked = p;
  masked.data = own.data();
  const Polygons everything = {{{0, 0}, {1, 0}, {1, 1}, {0, 1}}};
  if (count(kind, "mask", mask(own.data(), &length, own.size(), masked, turn, everything, scratch)) != Status::ok) return;
  if (p.fourcc != MJPG) return;
  Bytes rgb;
  if (!expect::that(length <= own.size(), "a masked picture stays in its place")) return;
  if (!scene::decode(own.data(), length, false, 1, &rgb, &w, &h)) {
    // Coefficients can be copied where pixels cannot be made of them (odd sampling).
    Bytes all64(64 * 64);
    expect::that(luma(p, turn, 64, 64, all64.data(), scratch) != Status::ok, "a masked picture opens");
    counts[std::string(kind) + " masked, never to be opened"]["ok"]++;
    return;
  }
  expect::that(std::all_of(rgb.begin(), rgb.end(), [](uint8_t v) { return v == 128; }), "a masked picture is blank");
}

int fuzz(uint32_t cases, uint64_t seed) {
  const int before = expect::failures();
  Random random(seed);
  Scratch scratch;
  std::vector<scene::Stored> jpegs;
  const scene::JpegKind kinds[] = {{.across = 2, .down = 2}, {.across = 2, .down = 1}, {.across = 1, .down = 1}, {.grey = true},
                                   {.progressive = true}, {.restart = true}, {.noTables = true}, {.metadata = Bytes(300, 'x')}};
  for (const auto& kind : kinds) jpegs.push_back(scene::jpeg(64 + 9 * static_cast<uint32_t>(jpegs.size() % 3), 48, 1, kind));
  const uint32_t formats[] = {YUYV, NV12, RGB3, GREY};
  for (uint32_t i = 0; i < cases; i++) {
    // Two thirds JPEGs, half of these spoilt only behind their headers; a third raw ones that lie.
    if (i % 3) {
      scene::Stored s = jpegs[random.below(static_cast<uint32_t>(jpegs.size()))];
      const size_t scan = scanOf(s.bytes);
      const bool behind = i % 3 == 1;
      if (behind) mutate(&s.bytes, scan, s.bytes.size() - 2, random);
      else mutate(&s.bytes, 0, random.below(4) ? scan : s.bytes.size(), random);
      if (!behind && !random.below(8)) s.bytes.resize(random.below(static_cast<uint32_t>(s.bytes.size())));
      // A copy of just this size: reading one byte too far is seen.
      s.bytes = Bytes(s.bytes);
      s.picture.data = s.bytes.data(), s.picture.length = s.bytes.size();
      if (!random.below(20)) s.picture.width += random.below(64);
      through(s, behind ? "jpeg-scan" : "jpeg-any", random, scratch);
    } else {
      scene::Stored s;
      s.picture = {nullptr, 0, formats[random.below(4)], 1 + random.below(80), 1 + random.below(60), random.below(3) ? 0 : random.below(300), random.below(2) == 1};
      if (!random.below(50)) s.picture.width = random.next(), s.picture.height = random.next();
      if (s.picture.width > 1u << 30 || s.picture.height > 1u << 30) s.picture.width >>= 3, s.picture.height >>= 3;
      const uint64_t likely = uint64_t{s.picture.stride ? s.picture.stride : s.picture.width * 2 + 2} * s.picture.height * 3 / 2;
      s.bytes.resize(random.below(static_cast<uint32_t>(std::min<uint64_t>(likely, 60000)) + 2));
      if (random.below(2)) s.bytes.resize(std::min<uint64_t>(likely * 2, 60000));
      for (size_t k = 0; k < s.bytes.size(); k += 7) s.bytes[k] = static_cast<uint8_t>(random.next());
      s.picture.data = s.bytes.data(), s.picture.length = s.bytes.size();
      if (!random.below(30)) s.picture.fourcc = random.next();
      through(s, "raw", random, scratch);
    }
  }
  for (const auto& [what, answers] : counts) {
    printf("{\"fuzz\":\"%s\"", what.c_str());
    for (const auto& [word, times] : answers) printf(",\"%s\":%u", word.c_str(), times);
    printf("}\n");
  }
  expect::that(scratch.bytes() < 16u << 20, "scratch stays small: %zu", scratch.bytes());
  return expect::failures() - before;
}
