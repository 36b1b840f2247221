// The part of order_statistics that needs no luck: exact and O(n) for every input, in at most six passes over the
// vector.
#pragma once
#include <cstdint>
#include <vector>

namespace rkif {

// results[i] = the element of rank ranks[i] (0 is the smallest). Returns false, without results, where a value is NaN.
bool radix_select(int64_t n, const float* values, const std::vector<int64_t>& ranks, float* results);

}  // namespace rkif
