// Thresholds and masks of many short vectors in one launch, a block each: launched one after the other, as select.h's
// are, they would take longer to launch than to run. Exact as those are, by the same digits.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/cuda/context.h"

namespace rkif::cuda {

// A longer one is work for many blocks.
inline constexpr int64_t kLongestSegment = int64_t{1} << 17;

// Whether a block of its own is best for one of so many vectors.
inline bool block_takes(int64_t count, int64_t length) { return count > 1 && length > 0 && length <= kLongestSegment; }

struct Segment {
  int64_t start;    // in the values and the mask
  double fraction;  // of the way from the element of this rank to the next (select.h)
  int32_t length;   // 1 to kLongestSegment
  int32_t rank;     // 0: the smallest; `length`: the threshold is infinity
  int32_t index;    // of its threshold
};

enum class Marking {
  kNone,  // thresholds alone
  kGreater,
  kGreaterEqual,
  kRank,  // from the rank on, equal values by lower index first
};

// thresholds[index] = the element of that rank, interpolated where `fraction` is above 0; mask: of the segments'
// elements, unless kNone. A NaN among a segment's values makes its threshold NaN and its mask empty.
void select_in_segments(const Context& context, const std::vector<Segment>& segments, const float* values,
                        Marking marking, uint8_t* mask, float* thresholds);

}  // namespace rkif::cuda
