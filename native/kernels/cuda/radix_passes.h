// The radix passes (radix_select.h), and what they and the pass over a sampled vector tell each other in device memory.
#pragma once
#include "kernels/cuda/radix_digits.h"
#include "kernels/cuda/radix_select.h"

namespace rkif::cuda {

inline constexpr int kMostWanted = 4;  // of one read of the vector
inline constexpr int kMostTargets = 2 * kMostWanted;

// Of all kernels that read the vector: blocks of a multiprocessor, loads under way in a thread.
inline constexpr int kSelectBlocks = 4;
inline constexpr int kSelectUnroll = 4;

struct Target {
  int64_t rank;
  double fraction;
  bool interpolated;
  __host__ __device__ bool wants_next() const { return fraction > 0; }
};
struct Targets {
  Target at[kMostTargets];
};

// Where a target's element is to be found.
enum Phase : int { kInVector, kInCopies, kKnown, kNone };

// One target's; zeros at first.
struct State {
  Count histogram[kMostBins];
  unsigned arrived[3];  // of each pass
  int phase;
  // The digits that are known, and the rank among the elements that have them.
  unsigned prefix;
  int64_t rank;
  unsigned next_complement;  // of the smallest key with a larger prefix
  // From the pass over a sampled vector.
  Count below;
  Count inside;
  unsigned overflow;
  float value;  // where it is kKnown
  // In the first target's only, for all: the blocks of that pass, and whether it has seen a NaN.
  unsigned surveyed;
  unsigned nan;
};

// What the radix passes read: the vector, or the copies, of which block b of the sampled pass has written held[b], at
// most `room`, for each target.
struct Source {
  const float* values;
  Range range;
  const float* copies;
  const unsigned* held;
  int64_t room;
};

inline unsigned blocks_for(const Context& context, int64_t n) {
  return grid_for(context, n, kThreads * 4 * kSelectUnroll, kSelectBlocks);
}

// Finds `count` targets; `blocks`: those of the pass that has written the copies, if any.
void radix_passes(const Context& context, unsigned blocks, const Source& source, int count, const Targets& targets,
                  State* states, const Selected& to);

}  // namespace rkif::cuda
