// Elements of given ranks in an unsorted vector: exact, O(n), without a sort and without a copy of the vector.
#pragma once
#include <cstdint>
#include <vector>

namespace rkif {

bool contains_nan(int64_t n, const float* values);

struct OrderStatistics {
  bool has_nan = false;
  // One for each asked rank, in the order asked; empty where has_nan. A zero may have either sign, as both are equal.
  std::vector<float> values;
};

// ranks: 0 is the smallest element, n - 1 the largest; in any order, repetitions allowed.
OrderStatistics order_statistics(int64_t n, const float* values, const std::vector<int64_t>& ranks);

}  // namespace rkif
