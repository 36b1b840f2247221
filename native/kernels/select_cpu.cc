#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "kernels/clones.h"
#include "kernels/order_statistics.h"
#include "kernels/select.h"

namespace rkif {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// Counts of a chunk fit 32 bits, and a chunk of mask is still in the cache when it is counted.
constexpr int64_t kChunk = 8192;

RKIF_CLONES void mark_greater_equal(int64_t n, const float* values, float threshold, uint8_t* __restrict mask) {
  for (int64_t i = 0; i < n; ++i) mask[i] = values[i] >= threshold ? 1 : 0;
}

RKIF_CLONES void mark_greater(int64_t n, const float* values, float threshold, uint8_t* __restrict mask) {
  for (int64_t i = 0; i < n; ++i) mask[i] = values[i] > threshold ? 1 : 0;
}

RKIF_CLONES int64_t count_bits(int64_t n, const uint8_t* mask) {
  int32_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += mask[i];
  return count;
}

RKIF_CLONES int64_t count_equal(int64_t n, const float* values, float value) {
  int32_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += values[i] == value ? 1 : 0;
  return count;
}

int64_t mark_range(int64_t n, const float* values, float threshold, Compare compare, uint8_t* mask) {
  int64_t count = 0;
  for (int64_t at = 0; at < n; at += kChunk) {
    const int64_t length = std::min(kChunk, n - at);
    if (compare == Compare::kGreaterEqual) {
      mark_greater_equal(length, values + at, threshold, mask + at);
    } else {
      mark_greater(length, values + at, threshold, mask + at);
    }
    count += count_bits(length, mask + at);
  }
  return count;
}

// Clears the bits of the last `excess` elements that equal `value`.
void clear_ties(int64_t n, const float* values, float value, int64_t excess, uint8_t* mask) {
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  const auto length = [&](int64_t chunk) { return std::min(kChunk, n - chunk * kChunk); };
  std::vector<int64_t> cleared(chunks);
  at::parallel_for(0, chunks, kParallelGrain / kChunk, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk)
      cleared[chunk] = count_equal(length(chunk), values + chunk * kChunk, value);
  });
  for (auto ties = cleared.rbegin(); ties != cleared.rend(); ++ties) {
    *ties = std::min(*ties, excess);
    excess -= *ties;
  }
  at::parallel_for(0, chunks, kParallelGrain / kChunk, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      int64_t left = cleared[chunk];
      for (int64_t i = chunk * kChunk + length(chunk) - 1; left > 0; --i) {
        if (values[i] != value) continue;
        mask[i] = 0;
        --left;
      }
    }
  });
}

}  // namespace

std::vector<double> quantiles(int64_t n, const float* values, const std::vector<double>& at) {
  if (n < 1) throw std::invalid_argument("quantiles: the vector is empty; a quantile needs at least one element");
  std::vector<int64_t> ranks;
  std::vector<double> fractions;
  for (double q : at) {
    const QuantileRank rank = quantile_rank(n, q);
    ranks.push_back(rank.below);
    ranks.push_back(rank.above());
    fractions.push_back(rank.fraction);
  }
  const OrderStatistics found = order_statistics(n, values, ranks);
  std::vector<double> result(at.size(), kNaN);
  if (found.has_nan) return result;
  for (size_t i = 0; i < at.size(); ++i) {
    result[i] = interpolate(found.values[2 * i], found.values[2 * i + 1], fractions[i]);
  }
  return result;
}

float quantile(int64_t n, const float* values, double at) { return static_cast<float>(quantiles(n, values, {at})[0]); }

int64_t mask_by_threshold(int64_t n, const float* values, float threshold, Compare compare, uint8_t* mask) {
  return at::parallel_reduce(
      0, n, kParallelGrain, int64_t{0},
      [&](int64_t begin, int64_t end, int64_t count) {
        return count + mark_range(end - begin, values + begin, threshold, compare, mask + begin);
      },
      [](int64_t a, int64_t b) { return a + b; });
}

float mask_top_k(int64_t n, const float* values, int64_t k, uint8_t* mask) {
  check_top_k(n, k);
  if (k == 0) {
    std::memset(mask, 0, n);
    return contains_nan(n, values) ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  }
  const OrderStatistics found = order_statistics(n, values, {n - k});
  const float threshold = found.has_nan ? std::numeric_limits<float>::quiet_NaN() : found.values[0];
  const int64_t selected = mask_by_threshold(n, values, threshold, Compare::kGreaterEqual, mask);
  if (selected > k) clear_ties(n, values, threshold, selected - k, mask);
  return threshold;
}

}  // namespace rkif
