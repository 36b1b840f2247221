// The parts that a call of attention is made of, in two variants: exact (products in fp32) and narrow (products of
// operands rounded to bfloat16 on tensor cores). Host side.
#pragma once
#include <algorithm>
#include <vector>

#include "kernels/cuda/attention_tiles.h"

namespace rkif::cuda {

inline constexpr int64_t kMostHeadSize = 256;
// Of gradients with narrow products: a warp's sums of larger heads do not fit its registers.
inline constexpr int64_t kMostNarrowHeadSize = 128;
// Bytes of a launch's sums by offset, beyond which the tiles of queries are taken in several launches.
inline constexpr int64_t kOffsetSumBytes = int64_t{64} << 20;

struct ForwardValues {
  const float *q, *k, *v;
  AttentionPrefix prefix;
  float* out;
  float* log_sum_exp;  // null: not wanted
};

struct BackwardValues {
  const float *q, *k, *v, *log_sum_exp, *grad_out;
  const float* mean_grad;  // grad_out . out of every query and head, in log_sum_exp's order
  float *grad_q, *grad_k, *grad_v;
  float* grad_bias;  // null: not wanted
};

using HostSpans = std::vector<AttentionSpan>;

void exact_forward(const Context& context, const AttentionProblem& problem, const HostSpans& spans,
                   const ForwardValues& values);
void exact_backward(const Context& context, const AttentionProblem& problem, const HostSpans& spans,
                    const BackwardValues& values);

// Those of the problem's spans that have one query.
void single_query_forward(const Context& context, const AttentionProblem& problem, const HostSpans& spans,
                          const ForwardValues& values);
// Heads of at most kMostHeadSize, and of kMostNarrowHeadSize.
void narrow_forward(const Context& context, const AttentionProblem& problem, const HostSpans& spans,
                    const ForwardValues& values);
void narrow_backward(const Context& context, const AttentionProblem& problem, const HostSpans& spans,
                     const BackwardValues& values);

// gradient[head][offset] += the sums of the tiles, in their order.
void add_offset_sums(const Context& context, int64_t heads, int64_t reach, int tiles, const OffsetSums& sums,
                     float* gradient);

template <class Length>
int count_tiles(const HostSpans& spans, int64_t size, const Length& length) {
  int64_t tiles = 0;
  for (const AttentionSpan& span : spans) tiles += divide_up(length(span), size);
  return static_cast<int>(tiles);
}

// launch(first tile, tiles, sums) for all tiles of `size` queries, in as many launches as the sums for the bias's
// gradient need memory, if that is wanted.
template <class Launch>
void launch_query_gradients(const Context& context, const AttentionProblem& problem, const HostSpans& spans, int size,
                            float* grad_bias, const Launch& launch, int64_t most_bytes = kOffsetSumBytes) {
  const int tiles = count_tiles(spans, size, SpanQueries{problem.spans_of});
  if (tiles == 0) return;
  if (grad_bias == nullptr) return launch(0, tiles, OffsetSums{});
  int64_t keys = 0;
  for (const AttentionSpan& span : spans) keys = std::max(keys, span.keys());
  const int64_t heads = problem.shape.heads, width = (divide_up(keys, size) + 1) * size;
  const int64_t most = most_bytes / (heads * width * static_cast<int64_t>(sizeof(float)));
  const int at_once = static_cast<int>(std::clamp<int64_t>(most, 1, tiles));
  Scratch<float> entries(context, at_once * heads * width);
  Scratch<int64_t> first_offsets(context, at_once);
  Scratch<int32_t> counts(context, at_once);
  const OffsetSums sums{entries.data(), first_offsets.data(), counts.data(), width};
  for (int first = 0; first < tiles; first += at_once) {
    const int count = std::min(at_once, tiles - first);
    launch(first, count, sums);
    add_offset_sums(context, heads, problem.bias.reach, count, sums, grad_bias);
  }
}

}  // namespace rkif::cuda
