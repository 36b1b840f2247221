// Vectors made and counted on the device, by kernels that have nothing in common with those that are measured.
#pragma once
#include <cstdint>

namespace rkif::benchmark {

enum class Values {
  kNormal,  // like gradients: about 0, both signs
  kScores,  // like importance * uncertainty: not negative, over many powers of two
  kTies,    // few values, each very often
};

// Values of about `size`, a function of `seed` and the index.
void fill(int64_t n, Values kind, float size, uint64_t seed, float* values);

// How many elements are below `at`, and how many are not above it.
struct Counts {
  int64_t below;
  int64_t not_above;
};
Counts count(int64_t n, const float* values, double at);

}  // namespace rkif::benchmark
