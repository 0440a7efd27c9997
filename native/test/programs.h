// The parts of the stand-alone test program.
#pragma once

#include <cstdint>

int bench(int rounds);
// Mutated pictures of every format through every function. Returns how many broke a promise.
int fuzz(uint32_t cases, uint64_t seed);
// Everything else. Returns the number of failed checks.
int correctness();
