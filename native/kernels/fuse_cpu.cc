#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "kernels/clones.h"
#include "kernels/fuse.h"

namespace rkif {
namespace {

// Blocks that stay in the first-level cache between a loop over floats and a loop over bytes.
constexpr int64_t kBlock = 2048;

RKIF_CLONES void fuse_range(int64_t n, const float* start, const float* tau_in, const float* tau_out,
                            const uint8_t* mask_in, const uint8_t* mask_out, const FusionTable& table,
                            float* parameters) {
  const auto [neither, only_in, only_out, both] = table;
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < n; ++i) {
    const bool in = mask_in[i] != 0;
    const bool out = mask_out[i] != 0;
    const float weight_in = in ? (out ? both.in : only_in.in) : (out ? only_out.in : neither.in);
    const float weight_out = in ? (out ? both.out : only_in.out) : (out ? only_out.out : neither.out);
    parameters[i] = start[i] + (weight_in * tau_in[i] + weight_out * tau_out[i]);
  }
}

RKIF_CLONES FusionCounts count_range(int64_t n, const uint8_t* mask_in, const uint8_t* mask_out) {
  int32_t in = 0;
  int32_t out = 0;
  int32_t both = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint8_t bit_in = mask_in[i] != 0;
    const uint8_t bit_out = mask_out[i] != 0;
    in += bit_in;
    out += bit_out;
    both += bit_in & bit_out;
  }
  return {n - in - out + both, in - both, out - both, both};
}

// Integers in the order of the floats, whose minima vectorise without assumptions about NaN; NaN and infinities lie
// outside of the finite numbers.
RKIF_INLINE int32_t ordered(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }
RKIF_INLINE int32_t ordered(float value) { return ordered(std::bit_cast<int32_t>(value)); }

// Smallest and largest score.
struct Extent {
  int32_t smallest_order = std::numeric_limits<int32_t>::max();
  int32_t largest_order = std::numeric_limits<int32_t>::min();

  double smallest() const { return std::bit_cast<float>(ordered(smallest_order)); }
  double largest() const { return std::bit_cast<float>(ordered(largest_order)); }
  // Whether all scores are finite and they are not all equal.
  bool spread() const {
    constexpr float kMost = std::numeric_limits<float>::max();
    return smallest_order >= ordered(-kMost) && largest_order <= ordered(kMost) && smallest() < largest();
  }
};

RKIF_CLONES Extent extent_range(int64_t n, const float* scores) {
  int32_t smallest = std::numeric_limits<int32_t>::max();
  int32_t largest = std::numeric_limits<int32_t>::min();
  for (int64_t i = 0; i < n; ++i) {
    const int32_t order = ordered(scores[i]);
    smallest = std::min(smallest, order);
    largest = std::max(largest, order);
  }
  return {smallest, largest};
}

Extent extent_of(int64_t n, const float* scores) {
  return at::parallel_reduce(
      0, n, kParallelGrain, Extent{},
      [&](int64_t begin, int64_t end, Extent) { return extent_range(end - begin, scores + begin); },
      [](const Extent& a, const Extent& b) {
        return Extent{std::min(a.smallest_order, b.smallest_order), std::max(a.largest_order, b.largest_order)};
      });
}

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

Normalisation normalisation(const Extent& extent, double temperature) {
  return {extent.smallest(), 1 / ((extent.largest() - extent.smallest()) * temperature)};
}

RKIF_CLONES void adaptive_weights_range(int64_t n, const float* score_in, const float* score_out,
                                        const Normalisation in, const Normalisation out, float* weight_in,
                                        float* weight_out) {
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < n; ++i) {
    // The softmax divided by its larger term: no exponential can overflow, whatever the temperature.
    const double ahead = (score_in[i] - in.smallest) * in.factor - (score_out[i] - out.smallest) * out.factor;
    const double e = exp_minus(std::abs(ahead));
    const double larger = 1 / (1 + e);
    const double smaller = e * larger;
    weight_in[i] = static_cast<float>(ahead >= 0 ? larger : smaller);
    weight_out[i] = static_cast<float>(ahead >= 0 ? smaller : larger);
  }
}

RKIF_CLONES void fuse_weighted_range(int64_t n, const float* start, const float* tau_in, const float* tau_out,
                                     const float* weight_in, const float* weight_out, float* parameters) {
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < n; ++i) parameters[i] = start[i] + (weight_in[i] * tau_in[i] + weight_out[i] * tau_out[i]);
}

}  // namespace

FusionCounts fuse(int64_t n, const float* start, const float* tau_in, const float* tau_out, const uint8_t* mask_in,
                  const uint8_t* mask_out, const FusionTable& table, float* parameters) {
  const auto add = [](const FusionCounts& a, const FusionCounts& b) {
    return FusionCounts{a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]};
  };
  return at::parallel_reduce(
      0, n, kParallelGrain, FusionCounts{},
      [&](int64_t begin, int64_t end, FusionCounts counts) {
        for (int64_t at = begin; at < end; at += kBlock) {
          const int64_t count = std::min(kBlock, end - at);
          fuse_range(count, start + at, tau_in + at, tau_out + at, mask_in + at, mask_out + at, table, parameters + at);
          counts = add(counts, count_range(count, mask_in + at, mask_out + at));
        }
        return counts;
      },
      add);
}

bool fuse_adaptive(int64_t n, const float* start, const float* tau_in, const float* tau_out, const float* score_in,
                   const float* score_out, float temperature, float* parameters, float* weight_in, float* weight_out) {
  if (!(temperature > 0) || !std::isfinite(temperature)) {
    throw std::invalid_argument("fuse_adaptive: temperature is " + std::to_string(temperature) +
                                "; expected a finite number above 0");
  }
  const Extent in = extent_of(n, score_in);
  const Extent out = extent_of(n, score_out);
  if (n == 0 || !in.spread() || !out.spread()) {
    if (parameters != start && n > 0) std::memcpy(parameters, start, n * sizeof(float));
    return false;
  }
  const Normalisation normalise_in = normalisation(in, temperature);
  const Normalisation normalise_out = normalisation(out, temperature);
  at::parallel_for(0, n, kParallelGrain, [&](int64_t begin, int64_t end) {
    float block_in[kBlock];
    float block_out[kBlock];
    for (int64_t at = begin; at < end; at += kBlock) {
      const int64_t count = std::min(kBlock, end - at);
      float* const to_in = weight_in ? weight_in + at : block_in;
      float* const to_out = weight_out ? weight_out + at : block_out;
      adaptive_weights_range(count, score_in + at, score_out + at, normalise_in, normalise_out, to_in, to_out);
      fuse_weighted_range(count, start + at, tau_in + at, tau_out + at, to_in, to_out, parameters + at);
    }
  });
  return true;
}

}  // namespace rkif
