// nvcc: -fmad=false
#include <algorithm>
#include <limits>

#include "kernels/cuda/radix_digits.h"
#include "kernels/cuda/segment_select.h"
#include "kernels/select.h"

namespace rkif::cuda {
namespace {

constexpr int kUnroll = 4;

// As many as a kernel's parameters hold: 4 KiB on every card.
constexpr int kMostSegments = 120;
struct Segments {
  Segment at[kMostSegments];
};
static_assert(sizeof(Segments) <= 3840);

// What is known of the element of one rank. The same in all threads.
struct Known {
  unsigned prefix = 0;  // the key's digits so far
  int64_t rank;         // among the elements that have them, ...
  int64_t count = 0;    // ... and how many these are
  unsigned next = 0;    // after the last pass: the key that follows it in the order
  bool nan = false;
};

template <int kPass>
__device__ void take_digit(const float* values, const Range& range, bool wants_next, unsigned* histogram,
                           Known& known) {
  constexpr int kBits = bits_of_pass(kPass), kBins = 1 << kBits, kOwn = kBins / kThreads;
  constexpr bool kLast = kPass + 1 == kPasses;
  __shared__ unsigned largest_complement;
  for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kThreads) histogram[i] = 0;
  if (threadIdx.x == 0) largest_complement = 0;
  __syncthreads();
  const unsigned complement =
      count_digits<kPass, kUnroll>(values, range, threadIdx.x, kThreads, known.prefix, histogram);
  if (kLast && wants_next && complement > 0) atomicMax(&largest_complement, complement);
  __syncthreads();
  Count mine[kOwn];
  const Bin found = locate(histogram, known.rank, mine);
  if constexpr (kPass == 0) {
    __shared__ bool nan;
    // NaN alone has this digit.
    if (threadIdx.x == kThreads - 1) nan = mine[kOwn - 1] > 0;
    __syncthreads();
    known.nan = nan;
  }
  const unsigned narrowed = known.prefix << kBits | found.index;
  if constexpr (kLast) {
    known.next = narrowed;
    if (wants_next && found.position + 1 == found.count) {
      const unsigned bin = next_bin(found.index, mine);
      known.next = bin < kBins ? known.prefix << kBits | bin : ~largest_complement;
    }
  }
  known.prefix = narrowed;
  known.rank = found.position;
  known.count = found.count;
}

__device__ void mark(const float* values, const Range& range, float limit, bool or_equal, uint8_t* mask) {
  for_each<4, kUnroll>(
      range, threadIdx.x, kThreads,
      [&](auto width, int64_t i) { return load_floats<decltype(width)::value>(values + i); },
      [&](auto width, int64_t i, const auto& x) {
        constexpr int kWide = decltype(width)::value;
        unsigned bytes = 0;
        RKIF_UNROLL
        for (int j = 0; j < kWide; ++j) {
          if (x.at[j] > limit || (or_equal && x.at[j] == limit)) bytes |= 1u << (8 * j);
        }
        store_bytes<kWide>(mask + i, bytes);
      });
}

// Of those that equal the limit, the first `kept` alone.
__device__ void mark_first_ties(const float* values, int64_t n, float limit, int64_t kept, uint8_t* mask) {
  __shared__ int partial[kThreads / kWarp];
  int64_t ties = 0;
  for (int64_t at = 0; at < n; at += kThreads) {
    const int64_t i = at + threadIdx.x;
    const float value = i < n ? values[i] : -std::numeric_limits<float>::infinity();
    const bool tie = i < n && value == limit;
    const int64_t index = block_index(tie, ties, partial);
    if (i < n) mask[i] = value > limit || (tie && index < kept);
  }
}

__global__ void __launch_bounds__(kThreads) select_in_segment(Segments segments, const float* all_values,
                                                              Marking marking, uint8_t* all_bits, float* thresholds) {
  __shared__ unsigned histogram[kMostBins];
  const Segment segment = segments.at[blockIdx.x];
  const float* values = all_values + segment.start;
  uint8_t* mask = marking == Marking::kNone ? nullptr : all_bits + segment.start;
  const Range range = wide_range<4>(segment.length, values);
  // Where none is selected, a NaN is looked for all the same.
  const bool none = segment.rank == segment.length;
  Known known;
  known.rank = none ? segment.length - 1 : segment.rank;
  const bool wants_next = segment.fraction > 0;
  take_digit<0>(values, range, wants_next, histogram, known);
  float threshold = std::numeric_limits<float>::quiet_NaN();
  if (!known.nan) {
    take_digit<1>(values, range, wants_next, histogram, known);
    take_digit<2>(values, range, wants_next, histogram, known);
    const float low = value_of(known.prefix);
    threshold = none                        ? std::numeric_limits<float>::infinity()
                : marking == Marking::kRank ? low
                                            : interpolate(low, value_of(known.next), segment.fraction);
  }
  if (threadIdx.x == 0) thresholds[segment.index] = threshold;
  if (marking == Marking::kNone) return;
  // An infinity is not above itself, but equal to itself.
  const bool or_equal = !none && (marking == Marking::kGreaterEqual || marking == Marking::kRank);
  if (marking == Marking::kRank && !none && !known.nan && known.rank > 0) {
    return mark_first_ties(values, segment.length, threshold, known.count - known.rank, mask);
  }
  mark(values, wide_range<4>(segment.length, values, mask), threshold, or_equal, mask);
}

}  // namespace

void select_in_segments(const Context& context, const std::vector<Segment>& segments, const float* values,
                        Marking marking, uint8_t* mask, float* thresholds) {
  for (size_t at = 0; at < segments.size(); at += kMostSegments) {
    const size_t count = std::min<size_t>(kMostSegments, segments.size() - at);
    Segments part{};
    std::copy_n(segments.begin() + static_cast<int64_t>(at), count, part.at);
    launch(context, "select_in_segment", static_cast<unsigned>(count), kThreads, 0, select_in_segment, part, values,
           marking, mask, thresholds);
  }
}

}  // namespace rkif::cuda
