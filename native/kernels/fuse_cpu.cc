#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/adaptive_weights.h"
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

RKIF_CLONES void adaptive_weights_range(int64_t n, const float* score_in, const float* score_out,
                                        const Normalisation in, const Normalisation out, float* weight_in,
                                        float* weight_out) {
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < n; ++i) {
    const WeightPair weights = adaptive_weights(score_in[i], score_out[i], in, out);
    weight_in[i] = weights.in;
    weight_out[i] = weights.out;
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
  check_temperature(temperature);
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
