// nvcc: -fmad=false
#include <algorithm>
#include <iterator>
#include <limits>

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/radix_select.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/segment_select.h"
#include "kernels/cuda/select.h"

namespace rkif::cuda {
namespace {

// Elements that a block marks at a time, and whose ties it counts.
constexpr int kUnroll = 4;
constexpr int64_t kChunk = kThreads * 4 * kUnroll;
constexpr int kBlocks = 6;  // a multiprocessor's
constexpr int kScanThreads = 1024;

// mask[i] = values[i] compare *threshold. Where `excess` is not null, and *excess above 0: ties[c] = how many elements
// of chunk c equal the threshold.
__global__ void __launch_bounds__(kThreads, kBlocks)
    mark(int64_t n, bool wide, const float* values, const float* threshold, Compare compare, uint8_t* mask,
         const int64_t* excess, unsigned* ties) {
  __shared__ unsigned partial[kThreads / kWarp];
  const float limit = *threshold;
  const bool or_equal = compare == Compare::kGreaterEqual;
  const bool counted = excess && *excess > 0;
  for (int64_t chunk = blockIdx.x; chunk * kChunk < n; chunk += gridDim.x) {
    const int64_t begin = chunk * kChunk, length = std::min(int64_t{kChunk}, n - begin);
    const float* from = values + begin;
    uint8_t* to = mask + begin;
    unsigned equal = 0;
    for_each<4, kUnroll>(
        Range{length, 0, wide ? length / 4 : 0}, threadIdx.x, kThreads,
        [&](auto width, int64_t i) { return load_floats<decltype(width)::value>(from + i); },
        [&](auto width, int64_t i, const auto& x) {
          constexpr int kWide = decltype(width)::value;
          unsigned bytes = 0;
          RKIF_UNROLL
          for (int j = 0; j < kWide; ++j) {
            const bool tie = x.at[j] == limit;
            if (x.at[j] > limit || (or_equal && tie)) bytes |= 1u << (8 * j);
            equal += tie;
          }
          store_bytes<kWide>(to + i, bytes);
        });
    if (!counted) continue;
    equal = block_sum(equal, partial);
    if (threadIdx.x == 0) ties[chunk] = equal;
  }
}

// One block: ties[c] of each chunk and those before it, and all of them at the end. Does nothing without an excess.
__global__ void __launch_bounds__(kScanThreads)
    add_up_ties(int64_t chunks, const unsigned* ties, const int64_t* excess, int64_t* before) {
  __shared__ int64_t partial[kScanThreads / kWarp];
  if (*excess == 0) return;
  const int64_t each = (chunks + kScanThreads - 1) / kScanThreads;
  const int64_t begin = std::min(chunks, threadIdx.x * each), end = std::min(chunks, begin + each);
  int64_t sum = 0;
  for (int64_t chunk = begin; chunk < end; ++chunk) sum += ties[chunk];
  int64_t sum_before = block_exclusive_sum(sum, partial);
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    before[chunk] = sum_before;
    sum_before += ties[chunk];
  }
  if (threadIdx.x == kScanThreads - 1) before[chunks] = sum_before;
}

// Clears the bits of the last *excess elements that equal the threshold.
__global__ void __launch_bounds__(kThreads, kBlocks)
    clear_ties(int64_t n, const float* values, const float* threshold, const int64_t* excess, const int64_t* before,
               uint8_t* mask) {
  __shared__ int partial[kThreads / kWarp];
  if (*excess == 0) return;
  const float limit = *threshold;
  const int64_t kept = before[(n + kChunk - 1) / kChunk] - *excess;
  for (int64_t chunk = blockIdx.x; chunk * kChunk < n; chunk += gridDim.x) {
    int64_t first = before[chunk];
    if (before[chunk + 1] <= kept || before[chunk + 1] == first) continue;
    const int64_t begin = chunk * kChunk, end = std::min(n, begin + kChunk);
    for (int64_t at = begin; at < end; at += kThreads) {
      const int64_t i = at + threadIdx.x;
      const bool tie = i < end && values[i] == limit;
      if (first >= kept) {
        if (tie) mask[i] = 0;
        continue;
      }
      // The chunk that holds the last tie that is kept.
      const int64_t index = block_index(tie, first, partial);
      if (tie && index >= kept) mask[i] = 0;
    }
  }
}

// The threshold that selects nothing; a NaN stays.
__global__ void raise_threshold(bool given, float* threshold) {
  if (!given || *threshold == *threshold) *threshold = std::numeric_limits<float>::infinity();
}

template <int kWide>
__device__ unsigned bits_at(const uint8_t* from) {
  if constexpr (kWide == 16) {
    const uint4 x = *reinterpret_cast<const uint4*>(from);
    // The high bit of every byte that is not 0.
    const auto count = [](unsigned bytes) {
      return static_cast<unsigned>(__popc((((bytes & 0x7f7f7f7fu) + 0x7f7f7f7fu) | bytes) & 0x80808080u));
    };
    return count(x.x) + count(x.y) + count(x.z) + count(x.w);
  } else {
    return *from != 0 ? 1 : 0;
  }
}

// result: 0 at first.
__global__ void __launch_bounds__(kThreads, kBlocks) add_bits(Range range, const uint8_t* mask, int64_t* result) {
  __shared__ Count partial[kThreads / kWarp];
  Count count = 0;
  for_each<16, kUnroll>(
      range, grid_index(), grid_size(),
      [&](auto width, int64_t i) { return bits_at<decltype(width)::value>(mask + i); },
      [&](auto, int64_t, unsigned bits) { count += bits; });
  count = block_sum(count, partial);
  if (threadIdx.x == 0 && count > 0) atomicAdd(reinterpret_cast<Count*>(result), count);
}

// As many as a kernel's parameters hold: 4 KiB on every card.
constexpr int kMostMatrices = 112;
struct Matrices {
  struct Place {
    int64_t rows, columns;
    int64_t values, sums;  // where they begin
  } at[kMostMatrices];
};
static_assert(sizeof(Matrices) <= 3840);

// A row of blocks a matrix, a warp a row of it. thresholds: of these matrices.
__global__ void __launch_bounds__(kThreads)
    clear_rows(Matrices matrices, float* values, const float* sums, const float* thresholds) {
  const Matrices::Place matrix = matrices.at[blockIdx.y];
  const float limit = thresholds[blockIdx.y];
  const int64_t warps = grid_size() / kWarp;
  for (int64_t row = grid_index() / kWarp; row < matrix.rows; row += warps) {
    if (sums[matrix.sums + row] >= limit) continue;
    float* to = values + matrix.values + row * matrix.columns;
    for (int64_t i = threadIdx.x % kWarp; i < matrix.columns; i += kWarp) to[i] = 0;
  }
}

Wanted wanted_of(const QuantileRank& rank) { return {rank.below, rank.fraction, true}; }

unsigned mark_blocks(const Context& context, int64_t n) { return grid_for(context, n, kChunk, kBlocks); }

void launch_mark(const Context& context, int64_t n, const float* values, const float* threshold, Compare compare,
                 uint8_t* mask, const int64_t* excess, unsigned* ties) {
  const bool wide = wide_at<4>(values, 0) && wide_at<4>(mask, 0);
  launch(context, "mark", mark_blocks(context, n), kThreads, 0, mark, n, wide, values, threshold, compare, mask, excess,
         ties);
}

}  // namespace

void quantiles(const Context& context, int64_t n, const float* values, const std::vector<double>& at, double* results) {
  std::vector<Wanted> wanted;
  if (at.empty()) quantile_rank(n, 0);  // an empty vector is refused
  for (double q : at) wanted.push_back(wanted_of(quantile_rank(n, q)));
  select_ranks(context, n, values, wanted, {.results = results});
}

namespace {

void mask_one_by_quantile(const Context& context, int64_t n, const float* values, const QuantileRank& rank,
                          Compare compare, uint8_t* mask, float* threshold) {
  select_ranks(context, n, values, {wanted_of(rank)}, {.values = threshold});
  launch_mark(context, n, values, threshold, compare, mask, nullptr, nullptr);
}

void mask_one_top_k(const Context& context, int64_t n, const float* values, int64_t k, uint8_t* mask,
                    float* threshold) {
  if (k == 0) {
    // A NaN is looked for.
    if (n > 0) select_ranks(context, n, values, {{.rank = n - 1}}, {.values = threshold});
    launch(context, "raise_threshold", 1, 1, 0, raise_threshold, n > 0, threshold);
    if (n > 0) fill_zero(context, mask, n);
    return;
  }
  const int64_t chunks = divide_up(n, kChunk);
  const Scratch<int64_t> excess(context, 1);
  const Scratch<unsigned> ties(context, chunks);
  const Scratch<int64_t> before(context, chunks + 1);
  // Those equal to the threshold that have lower ranks are too many.
  select_ranks(context, n, values, {{.rank = n - k}}, {.values = threshold, .lower = excess.data()});
  launch_mark(context, n, values, threshold, Compare::kGreaterEqual, mask, excess.data(), ties.data());
  launch(context, "add_up_ties", 1, kScanThreads, 0, add_up_ties, chunks, ties.data(), excess.data(), before.data());
  launch(context, "clear_ties", mark_blocks(context, n), kThreads, 0, clear_ties, n, values, threshold, excess.data(),
         before.data(), mask);
}

Segment segment_at(int64_t start, int64_t length, int64_t rank, double fraction, size_t index) {
  return {start, fraction, static_cast<int32_t>(length), static_cast<int32_t>(rank), static_cast<int32_t>(index)};
}

}  // namespace

void mask_by_quantile(const Context& context, const std::vector<int64_t>& lengths, const float* values, double at,
                      Compare compare, uint8_t* mask, float* thresholds) {
  std::vector<Segment> segments;
  int64_t start = 0;
  for (size_t i = 0; i < lengths.size(); start += lengths[i++]) {
    const QuantileRank rank = quantile_rank(lengths[i], at);
    if (block_takes(std::ssize(lengths), lengths[i])) {
      segments.push_back(segment_at(start, lengths[i], rank.below, rank.fraction, i));
    } else {
      mask_one_by_quantile(context, lengths[i], values + start, rank, compare, mask + start, thresholds + i);
    }
  }
  const Marking marking = compare == Compare::kGreater ? Marking::kGreater : Marking::kGreaterEqual;
  select_in_segments(context, segments, values, marking, mask, thresholds);
}

void mask_top_k(const Context& context, const std::vector<TopK>& parts, const float* values, uint8_t* mask,
                float* thresholds) {
  std::vector<Segment> segments;
  int64_t start = 0;
  for (size_t i = 0; i < parts.size(); start += parts[i++].n) {
    const auto [n, k] = parts[i];
    check_top_k(n, k);
    if (block_takes(std::ssize(parts), n)) {
      segments.push_back(segment_at(start, n, n - k, 0, i));
    } else {
      mask_one_top_k(context, n, values + start, k, mask + start, thresholds + i);
    }
  }
  select_in_segments(context, segments, values, Marking::kRank, mask, thresholds);
}

void count_bits(const Context& context, int64_t n, const uint8_t* mask, int64_t* result) {
  fill_zero(context, result, sizeof(*result));
  if (n == 0) return;
  launch(context, "count_bits", grid_for(context, n, kThreads * 16 * kUnroll, kBlocks), kThreads, 0, add_bits,
         wide_range<16>(n, mask), mask, result);
}

void mask_rows(const Context& context, const std::vector<RowMatrix>& matrices, float* values, const float* sums,
               double at) {
  const auto count = std::ssize(matrices);
  const Scratch<float> thresholds(context, count);
  std::vector<Segment> segments;
  std::vector<Matrices::Place> places;
  int64_t first_value = 0, first_sum = 0, most_rows = 0;
  for (const auto& [rows, columns] : matrices) {
    const QuantileRank rank = quantile_rank(rows, at);
    if (block_takes(count, rows)) {
      segments.push_back(segment_at(first_sum, rows, rank.below, rank.fraction, places.size()));
    } else {
      select_ranks(context, rows, sums + first_sum, {wanted_of(rank)}, {.values = thresholds.data() + places.size()});
    }
    places.push_back({rows, columns, first_value, first_sum});
    first_value += rows * columns;
    first_sum += rows;
    most_rows = std::max(most_rows, rows);
  }
  select_in_segments(context, segments, sums, Marking::kNone, nullptr, thresholds.data());
  const unsigned blocks = grid_for(context, most_rows, kThreads / kWarp);
  for (int64_t first = 0; first < count; first += kMostMatrices) {
    const int64_t here = std::min<int64_t>(kMostMatrices, count - first);
    Matrices part{};
    std::copy_n(places.begin() + first, here, part.at);
    launch(context, "clear_rows", dim3(blocks, static_cast<unsigned>(here)), kThreads, 0, clear_rows, part, values,
           sums, thresholds.data() + first);
  }
}

}  // namespace rkif::cuda
