// Whether quantiles, masks and top-k on the GPU are exact.
#pragma once
#include <string>
#include <vector>

#include "cuda_device.h"

namespace rkif::benchmark {

struct Exactness {
  int64_t checked = 0;
  // One line for each that differs.
  std::vector<std::string> wrong;
};

// Against a sort on the host: ties, zeros of both signs, subnormal numbers, infinities, NaN; 1 to 9 million elements.
void check_against_sort(const Device& device, Exactness& found);

// Vectors too long to be sorted: an element has rank k where at most k are below it and more than k are not above it.
void check_by_counting(const Device& device, int64_t n, Exactness& found);

}  // namespace rkif::benchmark
