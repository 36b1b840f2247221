// Elements of given ranks in an unsorted vector on the GPU: exact for every input, with no word to the host.
//
// The radix passes: the bits of fp32, turned into unsigned numbers in the floats' order, are taken 11, 11 and 10 at a
// time from the top; a histogram of one digit tells in which bucket the wanted rank lies, and only that bucket's
// elements are counted by the next digit. The last block of a pass to end reads the histogram. That is three reads of
// the vector.
//
// Long vectors are read once: a sample tells, with overwhelming probability, two values between which the wanted rank
// lies. One pass counts what is below them, copies the few elements between them, and looks for NaN; the radix passes
// then run over the copies. The counts prove whether the sample was right: where it was not, or where ties put too much
// between the two values, the radix passes read the vector, as they would have without a sample.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/cuda/context.h"

namespace rkif::cuda {

// An element wanted: the one of rank `rank` (0: the smallest), or what lies `fraction` of the way to the next
// (select.h).
struct Wanted {
  int64_t rank;
  double fraction = 0;
  bool interpolated = false;  // an infinity interpolated with itself is NaN
};

// Arrays in device memory with one element for each wanted; any may be null.
struct Selected {
  double* results = nullptr;
  float* values = nullptr;   // the same
  int64_t* lower = nullptr;  // how many elements that are equal to the one of that rank have lower ranks; NaN: 0
};

// Shorter vectors stay in the second-level cache, where three reads cost little.
inline constexpr int64_t kShortestSampled = int64_t{1} << 23;

// NaN for every wanted element where a value is NaN. n >= 1. A zero is always +0.
void select_ranks(const Context& context, int64_t n, const float* values, const std::vector<Wanted>& wanted,
                  const Selected& to, int64_t shortest_sampled = kShortestSampled);

}  // namespace rkif::cuda
