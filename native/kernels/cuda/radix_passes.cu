// nvcc: -fmad=false
#include <algorithm>

#include "kernels/cuda/radix_passes.h"
#include "kernels/select.h"

namespace rkif::cuda {
namespace {

__device__ void finish(const Target& target, const Selected& to, int index, float low, float high, int64_t lower) {
  const float value = target.interpolated ? interpolate(low, high, target.fraction) : low;
  if (to.values) to.values[index] = value;
  if (to.results) to.results[index] = value;
  if (to.lower) to.lower[index] = lower;
}

// Counts a digit of the elements that have the known prefix; the last block narrows the prefix.
template <int kPass>
__global__ void __launch_bounds__(kThreads, kSelectBlocks)
    radix_pass(Source source, Targets targets, State* states, Selected to) {
  constexpr int kBits = bits_of_pass(kPass), kBins = 1 << kBits;
  constexpr bool kLast = kPass + 1 == kPasses;
  __shared__ unsigned histogram[kBins];
  State& state = states[blockIdx.y];
  const Target target = targets.at[blockIdx.y];
  const int phase = state.phase;
  if (phase == kKnown || phase == kNone) {
    if (kLast && blockIdx.x == 0 && threadIdx.x == 0) {
      const float value = phase == kKnown ? state.value : __uint_as_float(0x7fc00000u);
      finish(target, to, static_cast<int>(blockIdx.y), value, value, phase == kKnown ? state.rank : 0);
    }
    return;
  }
  const unsigned prefix = state.prefix;
  for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kThreads) histogram[i] = 0;
  __syncthreads();

  const float* values = source.values;
  Range range = source.range;
  int64_t first = grid_index(), stride = int64_t{gridDim.x} * kThreads;
  if (phase == kInCopies) {
    const int64_t part = int64_t{blockIdx.y} * gridDim.x + blockIdx.x;
    values = source.copies + part * source.room;
    range = {source.held[part], 0, source.held[part] / 4};
    first = threadIdx.x;
    stride = kThreads;
  }
  unsigned next_complement = count_digits<kPass, kSelectUnroll>(values, range, first, stride, prefix, histogram);
  if (kLast && target.wants_next()) {
    next_complement = warp_max(next_complement);
    if (threadIdx.x % kWarp == 0 && next_complement > 0) atomicMax(&state.next_complement, next_complement);
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kThreads) {
    if (histogram[i] > 0) atomicAdd(&state.histogram[i], Count{histogram[i]});
  }
  if (!last_to_arrive(&state.arrived[kPass], gridDim.x)) return;

  int64_t rank = state.rank;
  if (kPass == 0) rank = target.rank - (phase == kInCopies ? static_cast<int64_t>(state.below) : 0);
  Count mine[kBins / kThreads];
  const Bin found = locate(state.histogram, rank, mine);
  const unsigned narrowed = prefix << kBits | found.index;
  if constexpr (!kLast) {
    if (threadIdx.x == 0) {
      state.prefix = narrowed;
      state.rank = found.position;
    }
    // NaN alone has this digit.
    if (kPass == 0 && threadIdx.x == kThreads - 1 && mine[kBins / kThreads - 1] > 0) state.phase = kNone;
  } else {
    unsigned next = narrowed;
    if (found.position + 1 == found.count && target.wants_next()) {
      // The next element is a larger one.
      const unsigned bin = next_bin(found.index, mine);
      next = bin < kBins ? prefix << kBits | bin : ~read_shared_by_blocks(&state.next_complement);
    }
    if (threadIdx.x == 0) {
      finish(target, to, static_cast<int>(blockIdx.y), value_of(narrowed), value_of(next), found.position);
    }
  }
}

}  // namespace

void radix_passes(const Context& context, unsigned blocks, const Source& source, int count, const Targets& targets,
                  State* states, const Selected& to) {
  const dim3 grid(blocks, static_cast<unsigned>(count));
  launch(context, "radix_pass", grid, kThreads, 0, radix_pass<0>, source, targets, states, to);
  launch(context, "radix_pass", grid, kThreads, 0, radix_pass<1>, source, targets, states, to);
  launch(context, "radix_pass", grid, kThreads, 0, radix_pass<2>, source, targets, states, to);
}

}  // namespace rkif::cuda
