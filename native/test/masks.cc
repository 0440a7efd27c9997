// Privacy masks: nothing of a polygon's inside is left, nothing else is touched.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "programs.h"
#include "reference.h"

using namespace pixels;

struct Spot {
  double x, y;
};

// A stored pixel position in the upright picture, 0..1.
static Spot uprightOf(const Picture& p, Turn turn, double x, double y) {
  double u = x / p.width, v = y / p.height;
  for (int i = 0; i < turn.rotate; i += 90) {
    const double old = u;
    u = 1 - v, v = old;
  }
  return {turn.flip ? 1 - u : u, v};
}

static bool inside(const std::vector<Point>& polygon, Spot s) {
  int winding = 0;
  for (size_t i = 0; i < polygon.size(); i++) {
    const Point a = polygon[i], b = polygon[(i + 1) % polygon.size()];
    const double side = (static_cast<double>(b.x) - a.x) * (s.y - a.y) - (s.x - a.x) * (static_cast<double>(b.y) - a.y);
    if (a.y <= s.y && b.y > s.y && side > 0) winding++;
    if (a.y > s.y && b.y <= s.y && side < 0) winding--;
  }
  return winding != 0;
}

// Distance to the nearest edge, in pixels of the stored picture.
static double distance(const std::vector<Point>& polygon, Spot s, double width, double height) {
  double best = 1e9;
  for (size_t i = 0; i < polygon.size(); i++) {
    const Point a = polygon[i], b = polygon[(i + 1) % polygon.size()];
    const double ex = (static_cast<double>(b.x) - a.x) * width, ey = (static_cast<double>(b.y) - a.y) * height;
    const double px = (s.x - a.x) * width, py = (s.y - a.y) * height;
    const double t = std::clamp((px * ex + py * ey) / std::max(1e-12, ex * ex + ey * ey), 0.0, 1.0);
    best = std::min(best, std::hypot(px - t * ex, py - t * ey));
  }
  return best;
}

enum class Fate { must, may, never };

// What has to become of a cell: `must` when a point of it lies inside (6 × 6 are tried, the corners
// among them), `never` when no part of a polygon can reach it.
static Fate fate(const Picture& p, Turn turn, const Polygons& polygons, uint32_t x, uint32_t y, uint32_t w, uint32_t h) {
  const double right = std::min(p.width, x + w), bottom = std::min(p.height, y + h);
  const bool side = turn.rotate % 180 != 0;
  const double width = side ? p.height : p.width, height = side ? p.width : p.height;
  bool near = false;
  for (const auto& polygon : polygons) {
    for (int i = 0; i < 6; i++) {
      for (int j = 0; j < 6; j++) {
        const Spot s = uprightOf(p, turn, x + (right - x) * (0.001 + 0.998 * i / 5), y + (bottom - y) * (0.001 + 0.998 * j / 5));
        if (inside(polygon, s)) return Fate::must;
      }
    }
    const Spot middle = uprightOf(p, turn, x + w / 2.0, y + h / 2.0);
    near = near || distance(polygon, middle, width, height) <= std::hypot(w, h) / 2 + 0.01;
  }
  return near ? Fate::may : Fate::never;
}

static Polygons shapes(scene::Random& random) {
  Polygons polygons;
  const auto any = [&] { return static_cast<float>(random.below(1201)) / 1000 - 0.1f; };
  for (uint32_t n = 1 + random.below(2); n; n--) {
    std::vector<Point> polygon;  // often crossing itself or leaving the picture
    for (uint32_t corner = 3 + random.below(4); corner; corner--) polygon.push_back({any(), any()});
    polygons.push_back(polygon);
  }
  return polygons;
}

static Status apply(scene::Stored* s, Turn turn, const Polygons& polygons, Scratch& scratch) {
  const size_t before = s->bytes.size();
  s->bytes.resize(before * 2 + 4096);
  s->picture.data = s->bytes.data();
  size_t length = 0;
  const Status status = mask(s->bytes.data(), &length, s->bytes.size(), s->picture, turn, polygons, scratch);
  s->bytes.resize(status == Status::ok ? length : before);
  s->picture.data = s->bytes.data();
  s->picture.length = s->bytes.size();
  return status;
}

// Returns how many cells are wrong; 0 is what we want of a masked picture, not of an unmasked one.
static int wrongRaw(const scene::Stored& before, const scene::Stored& after, Turn turn, const Polygons& polygons) {
  const Picture& p = before.picture;
  const uint32_t w = p.fourcc == YUYV || p.fourcc == NV12 ? 2 : 1, h = p.fourcc == NV12 ? 2 : 1;
  int wrong = 0;
  scene::Bytes touched(before.bytes.size());
  for (uint32_t y = 0; y < p.height; y += h) {
    for (uint32_t x = 0; x < p.width; x += w) {
      const Fate wanted = fate(p, turn, polygons, x, y, w, h);
      bool blank = true, same = true;
      const auto byte = [&](size_t at) {
        blank = blank && after.bytes[at] == 128;
        same = same && after.bytes[at] == before.bytes[at];
        touched[at] = 1;
      };
      for (uint32_t dy = 0; dy < h && y + dy < p.height; dy++) {
        const size_t line = size_t{p.stride} * (y + dy);
        if (p.fourcc == GREY) byte(line + x);
        if (p.fourcc == RGB3) for (size_t c = 0; c < 3; c++) byte(line + 3 * x + c);
        if (p.fourcc == YUYV) for (size_t c = 0; c < 4; c++) byte(line + 2 * x + c);
        if (p.fourcc == NV12) for (uint32_t dx = 0; dx < 2 && x + dx < p.width; dx++) byte(line + x + dx);
      }
      if (p.fourcc == NV12) for (size_t c = 0; c < 2; c++) byte(size_t{p.stride} * (p.height + y / 2) + x + c);
      if (wanted == Fate::must ? !blank : wanted == Fate::never ? !same : !blank && !same) wrong++;
    }
  }
  // Padding of the lines.
  const size_t line = p.fourcc == NV12 ? (p.width + 1) / 2 * 2 : p.fourcc == YUYV ? (p.width + 1) / 2 * 4 : p.width * (p.fourcc == RGB3 ? 3u : 1u);
  for (size_t i = 0; i < before.bytes.size(); i++) {
    if (!touched[i] && i % p.stride >= line && before.bytes[i] != after.bytes[i]) wrong++;
  }
  return wrong;
}

static int wrongJpeg(const scene::Stored& before, const scene::Stored& after, Turn turn, const Polygons& polygons) {
  scene::Coefficients a, b;
  if (!scene::coefficients(before.bytes.data(), before.bytes.size(), &a)) return 1;
  if (!scene::coefficients(after.bytes.data(), after.bytes.size(), &b)) return 1;
  if (b.metadata || a.tables != b.tables || a.components.size() != b.components.size()) return 1;
  int wrong = 0;
  const Picture& p = before.picture;
  const auto w = static_cast<uint32_t>(a.unitWidth), h = static_cast<uint32_t>(a.unitHeight);
  for (uint32_t y = 0; y < p.height; y += h) {
    for (uint32_t x = 0; x < p.width; x += w) {
      const Fate wanted = fate(p, turn, polygons, x, y, w, h);
      bool blank = true, same = true;
      for (size_t c = 0; c < a.components.size(); c++) {
        const auto& one = a.components[c];
        const auto& two = b.components[c];
        for (uint32_t j = y / h * static_cast<uint32_t>(one.v); j < (y / h + 1) * static_cast<uint32_t>(one.v) && j < one.down; j++) {
          for (uint32_t i = x / w * static_cast<uint32_t>(one.h); i < (x / w + 1) * static_cast<uint32_t>(one.h) && i < one.across; i++) {
            const size_t at = (size_t{j} * one.across + i) * 64;
            for (size_t k = at; k < at + 64; k++) {
              blank = blank && two.values[k] == 0;
              same = same && two.values[k] == one.values[k];
            }
          }
        }
      }
      if (wanted == Fate::must ? !blank : wanted == Fate::never ? !same : !blank && !same) wrong++;
    }
  }
  // And as any viewer shows it, colour not smoothed across the border: exactly grey inside.
  scene::Bytes rgb;
  uint32_t width = 0, height = 0;
  scene::decode(after.bytes.data(), after.bytes.size(), false, 8, &rgb, &width, &height);
  for (uint32_t y = 0; y < height; y++) {
    for (uint32_t x = 0; x < width; x++) {
      bool covered = false;
      for (const auto& polygon : polygons) covered = covered || inside(polygon, uprightOf(p, turn, x + 0.5, y + 0.5));
      const uint8_t* pixel = &rgb[(size_t{y} * width + x) * 3];
      if (covered && (pixel[0] != 128 || pixel[1] != 128 || pixel[2] != 128)) wrong++;
    }
  }
  return wrong;
}

void masks() {
  Scratch scratch;
  scene::Random random(11);
  int caught = 0, rounds = 0;
  for (int round = 0; round < 40; round++) {
    const Turn turn = {static_cast<int>(random.below(4)) * 90, random.below(2) == 1};
    const Polygons polygons = shapes(random);
    const uint32_t width = 40 + random.below(60), height = 40 + random.below(60);
    for (const uint32_t format : {YUYV, NV12, RGB3, GREY}) {
      const scene::Stored before = scene::raw(format, width, height, 9, random.below(2) * 14);
      scene::Stored after = before;
      expect::that(apply(&after, turn, polygons, scratch) == Status::ok, "masked");
      const int wrong = wrongRaw(before, after, turn, polygons);
      expect::that(!wrong, "%.4s %ux%u turned %d%s round %d: %d cells wrong", reinterpret_cast<const char*>(&format), width, height, turn.rotate, turn.flip ? "m" : "", round, wrong);
      rounds++, caught += wrongRaw(before, before, turn, polygons) > 0;
    }
    const scene::JpegKind kinds[] = {{.across = 2, .down = 2}, {.across = 2, .down = 1}, {.across = 1, .down = 1}, {.across = 1, .down = 2},
                                     {.grey = true}, {.progressive = true}, {.restart = true}, {.noTables = true}, {.optimised = true}};
    const char secret[] = "Exif..a thumbnail of what must not be seen";
    for (scene::JpegKind kind : kinds) {
      kind.metadata.assign(secret, secret + sizeof secret);
      scene::Stored before = scene::jpeg(width, height, 9, kind);
      before.bytes.insert(before.bytes.end(), secret, secret + sizeof secret);  // and behind the end
      before.picture.data = before.bytes.data(), before.picture.length = before.bytes.size();
      scene::Stored after = before;
      expect::that(apply(&after, turn, polygons, scratch) == Status::ok, "masked");
      const int wrong = wrongJpeg(before, after, turn, polygons);
      expect::that(!wrong, "JPEG %d×%d %ux%u turned %d%s round %d: %d units wrong", kind.across, kind.down, width, height, turn.rotate, turn.flip ? "m" : "", round, wrong);
      const auto has = [&](const scene::Stored& s) { return memmem(s.bytes.data(), s.bytes.size(), secret, sizeof secret - 1) != nullptr; };
      expect::that(has(before) && !has(after), "metadata goes, and what lies behind the end");
      expect::that(check(after.picture) == Status::ok, "still a picture");
      rounds++, caught += wrongJpeg(before, before, turn, polygons) > 0;
    }
  }
  // The measure itself must see an unmasked picture, whenever the polygons lie in it at all.
  expect::that(caught > rounds * 8 / 10, "unmasked pictures are caught: %d of %d", caught, rounds);

  // A mask of the whole picture leaves nothing; one of no size still covers the pixel it lies in.
  scene::Stored all = scene::raw(YUYV, 33, 21, 1);
  expect::that(apply(&all, {90, true}, {{{0, 0}, {1, 0}, {1, 1}, {0, 1}}}, scratch) == Status::ok, "masked");
  expect::that(std::all_of(all.bytes.begin(), all.bytes.end(), [](uint8_t v) { return v == 128; }), "all is grey");
  scene::Stored dot = scene::raw(GREY, 32, 32, 1);
  expect::that(apply(&dot, {0, false}, {{{0.5f, 0.3f}, {0.5f, 0.3f}, {0.5f, 0.3f}}}, scratch) == Status::ok, "masked");
  expect::that(dot.bytes[9 * 32 + 16] == 128, "a dot is covered");
}
