// nvcc: -fmad=false
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cuda/radix_passes.h"
#include "kernels/cuda/radix_select.h"
#include "kernels/dropout.h"

namespace rkif::cuda {
namespace {

// Elements of the sample, and the share of the vector's that it is at most.
constexpr int64_t kMostSampled = int64_t{1} << 18;
constexpr int64_t kSampleShare = 64;
// The rank in the sample has a binomial distribution; at the ends one of Poisson's, whose tails are longer.
constexpr double kDeviations = 5;
constexpr double kMargin = 8;
// At most this share of the vector is copied, but each block has room for a few stretches of a sorted vector.
constexpr int64_t kCopyShare = 32;
constexpr int64_t kLeastRoom = 4096;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// One element of each stretch of the vector, at a place that follows no pattern a matrix could have.
__global__ void __launch_bounds__(kThreads) take_sample(int64_t n, const float* values, int64_t count, float* sample) {
  const int64_t length = n / count;
  for (int64_t i = grid_index(); i < count; i += grid_size()) {
    const auto begin =
        static_cast<int64_t>(static_cast<double>(n) * static_cast<double>(i) / static_cast<double>(count));
    sample[i] = values[begin + static_cast<int64_t>(mix64(static_cast<uint64_t>(i)) % static_cast<uint64_t>(length))];
  }
}

// Which of a target's two elements of the sample exist: otherwise that side has no bound.
struct Bounds {
  bool low[kMostWanted];
  bool high[kMostWanted];
};

// Reads the vector once for kCount targets. edges[2 t], edges[2 t + 1]: the values that target t should lie between.
template <int kCount>
__global__ void __launch_bounds__(kThreads, kSelectBlocks)
    survey_pass(Source source, Targets targets, Bounds bounds, const float* edges, float* copies, unsigned* held,
                State* states) {
  __shared__ unsigned copied[kCount];
  __shared__ Count partial[kThreads / kWarp];
  if (threadIdx.x < kCount) copied[threadIdx.x] = 0;
  __syncthreads();
  const auto room = static_cast<unsigned>(source.room);
  float low[kCount], high[kCount];
  unsigned below[kCount], equal[kCount];
  RKIF_UNROLL
  for (int t = 0; t < kCount; ++t) {
    low[t] = bounds.low[t] ? edges[2 * t] : -kInfinity;
    high[t] = bounds.high[t] ? edges[2 * t + 1] : kInfinity;
    below[t] = equal[t] = 0;
  }
  unsigned overflow = 0;
  bool nan = false;
  for_each<4, kSelectUnroll>(
      source.range, grid_index(), grid_size(),
      [&](auto width, int64_t i) { return load_floats<decltype(width)::value>(source.values + i); },
      [&](auto, int64_t, const auto& x) {
        RKIF_UNROLL
        for (float value : x.at) {
          nan |= value != value;
          RKIF_UNROLL
          for (int t = 0; t < kCount; ++t) {
            below[t] += value < low[t];
            if (!(value >= low[t] && value <= high[t])) continue;
            if (low[t] == high[t]) {
              ++equal[t];  // it is known what a copy would hold
            } else if (read_shared_by_blocks(&copied[t]) >= room) {
              overflow |= 1u << t;
            } else {
              const unsigned slot = atomicAdd(&copied[t], 1u);
              if (slot < room) {
                copies[(int64_t{t} * gridDim.x + blockIdx.x) * room + slot] = value;
              } else {
                overflow |= 1u << t;
              }
            }
          }
        }
      });
  if (nan) atomicOr(&states[0].nan, 1u);
  __syncthreads();
  RKIF_UNROLL
  for (int t = 0; t < kCount; ++t) {
    if (overflow >> t & 1u) atomicOr(&states[t].overflow, 1u);
    const Count block_below = block_sum(Count{below[t]}, partial), block_equal = block_sum(Count{equal[t]}, partial);
    if (threadIdx.x != 0) continue;
    const unsigned here = std::min(copied[t], room);
    held[int64_t{t} * gridDim.x + blockIdx.x] = here;
    atomicAdd(&states[t].below, block_below);
    atomicAdd(&states[t].inside, block_equal + here);
  }
  if (!last_to_arrive(&states[0].surveyed, gridDim.x)) return;
  if (threadIdx.x >= kCount) return;
  State& state = states[threadIdx.x];
  const Target target = targets.at[threadIdx.x];
  const auto start = static_cast<int64_t>(read_shared_by_blocks(&state.below));
  const int64_t end = start + static_cast<int64_t>(read_shared_by_blocks(&state.inside));
  const bool holds = start <= target.rank && target.rank + (target.wants_next() ? 1 : 0) < end;
  float edge[2];
  for (int side = 0; side < 2; ++side) edge[side] = edges[2 * threadIdx.x + side];
  if (!bounds.low[threadIdx.x]) edge[0] = -kInfinity;
  if (!bounds.high[threadIdx.x]) edge[1] = kInfinity;
  if (read_shared_by_blocks(&states[0].nan) != 0) {
    state.phase = kNone;
  } else if (holds && edge[0] == edge[1]) {
    state.phase = kKnown;
    state.value = edge[0];
    state.rank = target.rank - start;
  } else if (holds && read_shared_by_blocks(&state.overflow) == 0) {
    state.phase = kInCopies;
  }
}

void survey(const Context& context, unsigned blocks, const Source& source, int count, const Targets& targets,
            const Bounds& bounds, const float* edges, float* copies, unsigned* held, State* states) {
  const decltype(&survey_pass<1>) kernels[kMostWanted] = {survey_pass<1>, survey_pass<2>, survey_pass<3>,
                                                          survey_pass<4>};
  launch(context, "survey_pass", blocks, kThreads, 0, kernels[count - 1], source, targets, bounds, edges, copies, held,
         states);
}

// The edges of each target by the radix passes over a sample of the vector; zeros in states for twice as many targets.
Bounds find_edges(const Context& context, int64_t n, const float* values, int count, const Targets& targets,
                  State* states, float* edges) {
  const int64_t sampled = std::max<int64_t>(1, std::min(kMostSampled, n / kSampleShare));
  const Scratch<float> sample(context, sampled);
  launch(context, "take_sample", grid_for(context, sampled, kThreads), kThreads, 0, take_sample, n, values, sampled,
         sample.data());
  Bounds bounds{};
  Targets sides{};
  const auto last = static_cast<double>(sampled - 1);
  for (int t = 0; t < count; ++t) {
    const double share = n > 1 ? static_cast<double>(targets.at[t].rank) / static_cast<double>(n - 1) : 0;
    const double deviation = kDeviations * std::sqrt(static_cast<double>(sampled) * share * (1 - share)) + kMargin;
    const double low = std::floor(share * last - deviation), high = std::ceil(share * last + deviation);
    bounds.low[t] = low >= 0;
    bounds.high[t] = high <= last;
    sides.at[2 * t].rank = bounds.low[t] ? static_cast<int64_t>(low) : 0;
    sides.at[2 * t + 1].rank = bounds.high[t] ? static_cast<int64_t>(high) : sampled - 1;
  }
  const Source source{sample.data(), wide_range<4>(sampled, sample.data()), nullptr, nullptr, 0};
  radix_passes(context, blocks_for(context, sampled), source, 2 * count, sides, states, {.values = edges});
  return bounds;
}

void select_few(const Context& context, int64_t n, const float* values, int count, const Wanted* wanted,
                const Selected& to, bool sampled) {
  Targets targets{};
  for (int t = 0; t < count; ++t) targets.at[t] = {wanted[t].rank, wanted[t].fraction, wanted[t].interpolated};
  const unsigned blocks = blocks_for(context, n);
  const int64_t states_count = sampled ? 3 * count : count;
  const Scratch<State> states(context, states_count);
  fill_zero(context, states.data(), states_count * static_cast<int64_t>(sizeof(State)));
  Source source{values, wide_range<4>(n, values), nullptr, nullptr, 0};
  if (!sampled) return radix_passes(context, blocks, source, count, targets, states.data(), to);

  const Scratch<float> edges(context, 2 * count);
  const Bounds bounds = find_edges(context, n, values, count, targets, states.data() + count, edges.data());
  // Whole vectors of four, so that each block's copies are aligned.
  source.room = std::max(kLeastRoom, divide_up(n / kCopyShare, int64_t{blocks} * 4) * 4);
  const Scratch<float> copies(context, source.room * blocks * count);
  const Scratch<unsigned> held(context, int64_t{blocks} * count);
  survey(context, blocks, source, count, targets, bounds, edges.data(), copies.data(), held.data(), states.data());
  source.copies = copies.data();
  source.held = held.data();
  radix_passes(context, blocks, source, count, targets, states.data(), to);
}

}  // namespace

void select_ranks(const Context& context, int64_t n, const float* values, const std::vector<Wanted>& wanted,
                  const Selected& to, int64_t shortest_sampled) {
  const auto all = static_cast<int>(wanted.size());
  for (int at = 0; at < all; at += kMostWanted) {
    const Selected part{to.results ? to.results + at : nullptr, to.values ? to.values + at : nullptr,
                        to.lower ? to.lower + at : nullptr};
    select_few(context, n, values, std::min(kMostWanted, all - at), wanted.data() + at, part, n >= shortest_sampled);
  }
}

}  // namespace rkif::cuda
