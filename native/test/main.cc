// pixels-test            correctness, then a few mutated pictures (FUZZ_CASES, 2000)
// pixels-test fuzz       mutated pictures only
// pixels-test bench [N]  times, N rounds each
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "programs.h"

static uint32_t number(const char* name, uint32_t otherwise) {
  const char* text = getenv(name);
  return text && *text ? static_cast<uint32_t>(strtoul(text, nullptr, 10)) : otherwise;
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  if (!strcmp(what, "bench")) return bench(argc > 2 ? atoi(argv[2]) : 60);
  int failed = strcmp(what, "fuzz") ? correctness() : 0;
  failed += fuzz(number("FUZZ_CASES", 2000), number("FUZZ_SEED", 1));
  printf("%s: %d failed\n", failed ? "FAILED" : "passed", failed);
  return failed ? 1 : 0;
}
