// nvcc: -fmad=false
#include "kernels/adaptive_weights.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/fuse.h"

namespace rkif::cuda {
namespace {

constexpr int kFuseBlocks = 4;  // a multiprocessor's
constexpr int kExtentBlocks = 4;
constexpr int kAdaptiveBlocks = 4;

using Count = unsigned long long;

__device__ void copy(const Range& range, const float* from, float* to) {
  for_each<4, 2>(
      range, grid_index(), grid_size(),
      [&](auto width, int64_t i) { return load_floats<decltype(width)::value>(from + i); },
      [&](auto, int64_t i, const auto& x) { store_floats(to + i, x); });
}

// --- with masks

// Whether one of the thresholds that made the masks is NaN; the same in all threads.
__device__ bool any_nan(const FusionMask& in, const FusionMask& out) {
  __shared__ int found;
  if (threadIdx.x == 0) found = 0;
  __syncthreads();
  bool nan = false;
  for (int64_t i = threadIdx.x; i < in.threshold_count; i += blockDim.x) nan |= in.thresholds[i] != in.thresholds[i];
  for (int64_t i = threadIdx.x; i < out.threshold_count; i += blockDim.x) nan |= out.thresholds[i] != out.thresholds[i];
  if (nan) atomicOr(&found, 1);
  __syncthreads();
  return found != 0;
}

template <int kWide>
struct FuseLoaded {
  Floats<kWide> start;
  Floats<kWide> tau_in;
  Floats<kWide> tau_out;
  unsigned in;
  unsigned out;
};

// counts: zeros.
__global__ void __launch_bounds__(kThreads, kFuseBlocks)
    fuse_masked(Range range, const float* start, const float* tau_in, const float* tau_out, FusionMask in,
                FusionMask out, FusionTable table, float* parameters, int64_t* counts) {
  if (any_nan(in, out)) {
    if (parameters != start) copy(range, start, parameters);
    if (blockIdx.x == 0 && threadIdx.x < 4) counts[threadIdx.x] = -1;
    return;
  }
  const WeightPair neither = table[0], only_in = table[1], only_out = table[2], both = table[3];
  unsigned in_share = 0, out_share = 0, both_share = 0;
  for_each<4, 1>(
      range, grid_index(), grid_size(),
      [&](auto width, int64_t i) {
        constexpr int kWide = decltype(width)::value;
        return FuseLoaded<kWide>{load_floats<kWide>(start + i), load_floats<kWide>(tau_in + i),
                                 load_floats<kWide>(tau_out + i), load_bytes<kWide>(in.bits + i),
                                 load_bytes<kWide>(out.bits + i)};
      },
      [&](auto width, int64_t i, const auto& x) {
        constexpr int kWide = decltype(width)::value;
        Floats<kWide> y;
        RKIF_UNROLL
        for (int j = 0; j < kWide; ++j) {
          const bool bit_in = byte_set(x.in, j), bit_out = byte_set(x.out, j);
          const float weight_in = bit_in ? (bit_out ? both.in : only_in.in) : (bit_out ? only_out.in : neither.in);
          const float weight_out = bit_in ? (bit_out ? both.out : only_in.out) : (bit_out ? only_out.out : neither.out);
          y.at[j] = x.start.at[j] + (weight_in * x.tau_in.at[j] + weight_out * x.tau_out.at[j]);
          in_share += bit_in;
          out_share += bit_out;
          both_share += bit_in && bit_out;
        }
        store_floats(parameters + i, y);
      });
  __shared__ Count partial[kThreads / kWarp];
  const Count in_count = block_sum(Count{in_share}, partial);
  const Count out_count = block_sum(Count{out_share}, partial);
  const Count both_count = block_sum(Count{both_share}, partial);
  if (threadIdx.x == 0) {
    // Sums of integers: the order in which blocks add does not show. What is taken from the first count wraps.
    Count* to = reinterpret_cast<Count*>(counts);
    const Count all = blockIdx.x == 0 ? static_cast<Count>(range.n) : 0;
    atomicAdd(&to[0], all + both_count - in_count - out_count);
    atomicAdd(&to[1], in_count - both_count);
    atomicAdd(&to[2], out_count - both_count);
    atomicAdd(&to[3], both_count);
  }
}

// --- adaptive

// Of both sides' scores, as unsigned numbers in the order of the floats: the largest, and the largest of their
// complements, so that zeros are where to begin.
struct Extremes {
  unsigned largest[2];
  unsigned least_complement[2];
};

__device__ inline unsigned score_order(float score) { return static_cast<unsigned>(ordered(score)) ^ 0x80000000u; }

__device__ inline Extent extent_of(const Extremes& extremes, int side) {
  return {static_cast<int32_t>(~extremes.least_complement[side] ^ 0x80000000u),
          static_cast<int32_t>(extremes.largest[side] ^ 0x80000000u)};
}

template <int kWide>
struct Scores {
  Floats<kWide> in;
  Floats<kWide> out;
};

__global__ void __launch_bounds__(kThreads, kExtentBlocks)
    find_extremes(Range range, const float* score_in, const float* score_out, Extremes* result) {
  __shared__ Extremes block;
  if (threadIdx.x == 0) block = {};
  __syncthreads();
  Extremes mine{};
  const auto see = [&](int side, float score) {
    const unsigned order = score_order(score);
    mine.largest[side] = std::max(mine.largest[side], order);
    mine.least_complement[side] = std::max(mine.least_complement[side], ~order);
  };
  for_each<4, 2>(
      range, grid_index(), grid_size(),
      [&](auto width, int64_t i) {
        constexpr int kWide = decltype(width)::value;
        return Scores<kWide>{load_floats<kWide>(score_in + i), load_floats<kWide>(score_out + i)};
      },
      [&](auto width, int64_t, const auto& x) {
        RKIF_UNROLL
        for (int j = 0; j < decltype(width)::value; ++j) {
          see(0, x.in.at[j]);
          see(1, x.out.at[j]);
        }
      });
  for (int side = 0; side < 2; ++side) {
    const unsigned largest = warp_max(mine.largest[side]), least = warp_max(mine.least_complement[side]);
    if (threadIdx.x % kWarp == 0) {
      atomicMax(&block.largest[side], largest);
      atomicMax(&block.least_complement[side], least);
    }
  }
  __syncthreads();
  if (threadIdx.x < 2) {
    atomicMax(&result->largest[threadIdx.x], block.largest[threadIdx.x]);
    atomicMax(&result->least_complement[threadIdx.x], block.least_complement[threadIdx.x]);
  }
}

template <int kWide>
struct AdaptiveLoaded {
  Scores<kWide> scores;
  Floats<kWide> start;
  Floats<kWide> tau_in;
  Floats<kWide> tau_out;
};

__global__ void __launch_bounds__(kThreads, kAdaptiveBlocks)
    fuse_weighted(Range range, const float* start, const float* tau_in, const float* tau_out, const float* score_in,
                  const float* score_out, float temperature, const Extremes* extremes, float* parameters,
                  float* weight_in, float* weight_out, int32_t* fused) {
  const Extent extent_in = extent_of(*extremes, 0), extent_out = extent_of(*extremes, 1);
  const bool spread = extent_in.spread() && extent_out.spread();
  if (blockIdx.x == 0 && threadIdx.x == 0) *fused = spread ? 1 : 0;
  if (!spread) {
    if (parameters != start) copy(range, start, parameters);
    return;
  }
  const Normalisation in = normalisation(extent_in, temperature), out = normalisation(extent_out, temperature);
  for_each<4, 1>(
      range, grid_index(), grid_size(),
      [&](auto width, int64_t i) {
        constexpr int kWide = decltype(width)::value;
        return AdaptiveLoaded<kWide>{{load_floats<kWide>(score_in + i), load_floats<kWide>(score_out + i)},
                                     load_floats<kWide>(start + i),
                                     load_floats<kWide>(tau_in + i),
                                     load_floats<kWide>(tau_out + i)};
      },
      [&](auto width, int64_t i, const auto& x) {
        constexpr int kWide = decltype(width)::value;
        Floats<kWide> y, to_in, to_out;
        RKIF_UNROLL
        for (int j = 0; j < kWide; ++j) {
          const WeightPair weights = adaptive_weights(x.scores.in.at[j], x.scores.out.at[j], in, out);
          y.at[j] = x.start.at[j] + (weights.in * x.tau_in.at[j] + weights.out * x.tau_out.at[j]);
          to_in.at[j] = weights.in;
          to_out.at[j] = weights.out;
        }
        store_floats(parameters + i, y);
        if (weight_in) store_floats(weight_in + i, to_in);
        if (weight_out) store_floats(weight_out + i, to_out);
      });
}

}  // namespace

void fuse(const Context& context, int64_t n, const float* start, const float* tau_in, const float* tau_out,
          const FusionMask& in, const FusionMask& out, const FusionTable& table, float* parameters, int64_t* counts) {
  fill_zero(context, counts, sizeof(FusionCounts));
  launch(context, "fuse", grid_for(context, n, kThreads * 4, kFuseBlocks), kThreads, 0, fuse_masked,
         wide_range<4>(n, start, tau_in, tau_out, in.bits, out.bits, parameters), start, tau_in, tau_out, in, out,
         table, parameters, counts);
}

void fuse_adaptive(const Context& context, int64_t n, const float* start, const float* tau_in, const float* tau_out,
                   const float* score_in, const float* score_out, float temperature, float* parameters,
                   float* weight_in, float* weight_out, int32_t* fused) {
  check_temperature(temperature);
  const Scratch<Extremes> extremes(context, 1);
  fill_zero(context, extremes.data(), sizeof(Extremes));
  launch(context, "find_extremes", grid_for(context, n, kThreads * 8, kExtentBlocks), kThreads, 0, find_extremes,
         wide_range<4>(n, score_in, score_out), score_in, score_out, extremes.data());
  launch(context, "fuse_adaptive", grid_for(context, n, kThreads * 4, kAdaptiveBlocks), kThreads, 0, fuse_weighted,
         wide_range<4>(n, start, tau_in, tau_out, score_in, score_out, parameters, weight_in, weight_out), start,
         tau_in, tau_out, score_in, score_out, temperature, extremes.data(), parameters, weight_in, weight_out, fused);
}

}  // namespace rkif::cuda
