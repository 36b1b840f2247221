// What the adaptive fusion computes (fuse.h), for each device: the extent of the scores and the weights of one element.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "kernels/clones.h"
#include "kernels/fuse.h"

namespace rkif {

inline void check_temperature(float temperature) {
  if (temperature > 0 && std::isfinite(temperature)) return;
  throw std::invalid_argument("fuse_adaptive: temperature is " + std::to_string(temperature) +
                              "; expected a finite number above 0");
}

// Integers in the order of the floats, whose minima vectorise without assumptions about NaN; NaN and infinities lie
// outside of the finite numbers.
RKIF_INLINE int32_t ordered(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }
RKIF_INLINE int32_t ordered(float value) { return ordered(std::bit_cast<int32_t>(value)); }

// Smallest and largest score.
struct Extent {
  int32_t smallest_order = std::numeric_limits<int32_t>::max();
  int32_t largest_order = std::numeric_limits<int32_t>::min();

  RKIF_HOST_DEVICE double smallest() const { return std::bit_cast<float>(ordered(smallest_order)); }
  RKIF_HOST_DEVICE double largest() const { return std::bit_cast<float>(ordered(largest_order)); }
  // Whether all scores are finite and they are not all equal.
  RKIF_HOST_DEVICE bool spread() const {
    constexpr float kMost = std::numeric_limits<float>::max();
    return smallest_order >= ordered(-kMost) && largest_order <= ordered(kMost) && smallest() < largest();
  }
};

// exp(-x) for 0 <= x, within 1e-11 relative and 0 where it is below 1e-300: far more than fp32 keeps, and plain
// arithmetic that vectorises, unlike a call of std::exp. exp(-x) = 2^k * exp(r), |r| <= ln(2) / 2, by the Taylor
// series.
RKIF_INLINE double exp_minus(double x) {
  constexpr double kLog2E = 1.4426950408889634;
  constexpr double kLn2High = 6.93147180369123816490e-01;
  constexpr double kLn2Low = 1.90821492927058770002e-10;
  // Adding it moves the nearest integer into the lowest bits of the sum.
  constexpr double kRounder = 6755399441055744.0;
  const double y = -std::min(x, 690.0);
  const double rounded = y * kLog2E + kRounder;
  const double k = rounded - kRounder;
  const double r = (y - k * kLn2High) - k * kLn2Low;
  double p = 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const uint64_t power = (std::bit_cast<uint64_t>(rounded) + 1023) << 52;
  return x > 690.0 ? 0.0 : p * std::bit_cast<double>(power);
}

// (score - smallest) * factor = the normalised score over the temperature.
struct Normalisation {
  double smallest;
  double factor;
};

RKIF_HOST_DEVICE inline Normalisation normalisation(const Extent& extent, double temperature) {
  return {extent.smallest(), 1 / ((extent.largest() - extent.smallest()) * temperature)};
}

RKIF_INLINE WeightPair adaptive_weights(float score_in, float score_out, const Normalisation& in,
                                        const Normalisation& out) {
  // The softmax divided by its larger term: no exponential can overflow, whatever the temperature.
  const double ahead = (score_in - in.smallest) * in.factor - (score_out - out.smallest) * out.factor;
  const double e = exp_minus(std::abs(ahead));
  const double larger = 1 / (1 + e);
  const double smaller = e * larger;
  return {static_cast<float>(ahead >= 0 ? larger : smaller), static_cast<float>(ahead >= 0 ? smaller : larger)};
}

}  // namespace rkif
