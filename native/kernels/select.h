// Which weights are important: exact quantiles and exact top-k of vectors of any length, in O(n).
#pragma once
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/host_device.h"

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

// A part of a vector, and how many of its elements are selected.
struct TopK {
  int64_t n, k;
};

// Where a quantile lies: `fraction` of the way from the element of rank `below` to the one of rank above().
struct QuantileRank {
  int64_t below;
  double fraction;
  int64_t above() const { return fraction > 0 ? below + 1 : below; }
};

// Throws std::invalid_argument as `quantiles` says.
inline QuantileRank quantile_rank(int64_t n, double at) {
  if (n < 1) throw std::invalid_argument("quantiles: the vector is empty; a quantile needs at least one element");
  if (!(at >= 0 && at <= 1)) throw std::invalid_argument("quantiles: " + std::to_string(at) + " is not from 0 to 1");
  const double rank = at * static_cast<double>(n - 1);
  const double below = std::floor(rank);
  return {static_cast<int64_t>(below), rank - below};
}

// torch.lerp's two branches, of which each is exact at its end; also its NaN between equal infinities.
RKIF_HOST_DEVICE inline float interpolate(double a, double b, double weight) {
  return static_cast<float>(weight < 0.5 ? a + weight * (b - a) : b - (b - a) * (1 - weight));
}

// Throws std::invalid_argument where k is not from 0 to n.
inline void check_top_k(int64_t n, int64_t k) {
  if (k >= 0 && k <= n) return;
  throw std::invalid_argument("mask_top_k: k is " + std::to_string(k) + "; expected 0 to " + std::to_string(n) +
                              ", the vector's length");
}

}  // namespace rkif
