// Which weights are important: exact quantiles and exact top-k of vectors of any length, in O(n).
#pragma once
#include <cstdint>
#include <vector>

namespace rkif {

// Quantiles as torch.quantile(values, q, interpolation="linear") defines them, with the rank q * (n - 1) in double
// precision (torch computes it in fp32 and is off by several positions in long vectors). The interpolation is
// torch.lerp in double, rounded to fp32 at the end. NaN where any value is NaN, and where torch.lerp makes NaN of
// infinite neighbours (always of two equal ones). n >= 1, 0 <= q <= 1; std::invalid_argument otherwise. O(n): no sort,
// no copy of the vector.
std::vector<double> quantiles(int64_t n, const float* values, const std::vector<double>& at);
float quantile(int64_t n, const float* values, double at);

enum class Compare { kGreaterEqual, kGreater };

// mask[i] = values[i] compare threshold. A NaN threshold gives an empty mask. Returns how many bits are set.
int64_t mask_by_threshold(int64_t n, const float* values, float threshold, Compare compare, uint8_t* mask);

// Exactly k bits set: the k largest values, equal ones by lower index first. 0 <= k <= n. A NaN among the values gives
// an empty mask and a NaN threshold. Returns the smallest selected value (infinity for k = 0).
float mask_top_k(int64_t n, const float* values, int64_t k, uint8_t* mask);

}  // namespace rkif
