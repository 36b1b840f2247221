// nvcc: -fmad=false
#include <algorithm>

#include "kernels/cuda/radix_passes.h"
#include "kernels/select.h"

namespace rkif::cuda {
namespace {

constexpr int kPasses = 3;
constexpr int bits_of_pass(int pass) { return pass + 1 == kPasses ? 10 : 11; }
constexpr int shift_of_pass(int pass) { return pass == 0 ? 21 : pass == 1 ? 10 : 0; }

// Unsigned numbers in the order of the floats; zeros of both signs are equal, and NaN is above all.
__device__ inline unsigned key_of(float value) {
  const unsigned bits = __float_as_uint(value + 0.0f);  // -0 + 0 = +0
  const unsigned key = bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
  return value != value ? 0xffffffffu : key;
}
__device__ inline float value_of(unsigned key) {
  return __uint_as_float(key ^ (key >> 31 ? 0x80000000u : 0xffffffffu));
}

__device__ void finish(const Target& target, const Selected& to, int index, float low, float high, int64_t lower) {
  const float value = target.interpolated ? interpolate(low, high, target.fraction) : low;
  if (to.values) to.values[index] = value;
  if (to.results) to.results[index] = value;
  if (to.lower) to.lower[index] = lower;
}

// The bin of a histogram that holds a rank.
struct Bin {
  unsigned index;
  int64_t position;  // of the rank in the bin
  int64_t count;
};

// Every thread gets the bin; `mine`: this thread's bins of the histogram, which are returned to zero.
template <int kOwn>
__device__ Bin locate(Count* histogram, int64_t rank, Count (&mine)[kOwn]) {
  __shared__ Count partial[kThreads / kWarp];
  __shared__ Bin found;
  const unsigned first = threadIdx.x * kOwn;
  Count sum = 0;
  RKIF_UNROLL
  for (int j = 0; j < kOwn; ++j) {
    mine[j] = read_shared_by_blocks(&histogram[first + j]);
    histogram[first + j] = 0;
    sum += mine[j];
  }
  auto before = static_cast<int64_t>(block_exclusive_sum(sum, partial));
  if (rank >= before && rank < before + static_cast<int64_t>(sum)) {
    bool here = false;
    RKIF_UNROLL
    for (int j = 0; j < kOwn; ++j) {
      const auto count = static_cast<int64_t>(mine[j]);
      if (!here && rank < before + count) {
        found = {first + j, rank - before, count};
        here = true;
      }
      before += count;
    }
  }
  __syncthreads();
  return found;
}

// Counts a digit of the elements that have the known prefix; the last block narrows the prefix.
template <int kPass>
__global__ void __launch_bounds__(kThreads, kSelectBlocks)
    radix_pass(Source source, Targets targets, State* states, Selected to) {
  constexpr int kBits = bits_of_pass(kPass), kShift = shift_of_pass(kPass), kBins = 1 << kBits;
  constexpr bool kLast = kPass + 1 == kPasses;
  __shared__ unsigned histogram[kBins];
  __shared__ unsigned next_bin;
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
  if (threadIdx.x == 0) next_bin = kBins;
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
  // Equal neighbours (ties; the first digits of copies) are counted together: threads do not wait for each other.
  unsigned bin = 0, length = 0, next_complement = 0;
  for_each<4, kSelectUnroll>(
      range, first, stride, [&](auto width, int64_t i) { return load_floats<decltype(width)::value>(values + i); },
      [&](auto, int64_t, const auto& x) {
        RKIF_UNROLL
        for (float value : x.at) {
          const unsigned key = key_of(value);
          if constexpr (kPass > 0) {
            const unsigned leading = key >> (kShift + kBits);
            if (kLast && leading > prefix) next_complement = std::max(next_complement, ~key);
            if (leading != prefix) continue;
          }
          const unsigned digit = key >> kShift & (kBins - 1);
          if (digit != bin) {
            atomicAdd(&histogram[bin], length);
            bin = digit;
            length = 0;
          }
          ++length;
        }
      });
  if (length > 0) atomicAdd(&histogram[bin], length);
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
    if (found.position + 1 == found.count && target.wants_next()) {
      // The next element is a larger one.
      RKIF_UNROLL
      for (int j = kBins / kThreads - 1; j >= 0; --j) {
        const unsigned other = threadIdx.x * (kBins / kThreads) + j;
        if (mine[j] > 0 && other > found.index) atomicMin(&next_bin, other);
      }
      __syncthreads();
    }
    if (threadIdx.x == 0) {
      unsigned next = narrowed;
      if (found.position + 1 == found.count && target.wants_next()) {
        next = next_bin < kBins ? prefix << kBits | next_bin : ~read_shared_by_blocks(&state.next_complement);
      }
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
