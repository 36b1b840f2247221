// Attention of single queries, as in generation: every key and value is read once, straight into registers. fp32.
#include "kernels/cuda/attention_parts.h"
#include "kernels/exponential.h"

namespace rkif::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kAtOnce = 4;  // keys of a warp, so that many loads are under way

// One block a query and head. A warp takes every kWarps-th group of keys; a lane has the elements lane, lane + 32, ...
// of all vectors, kOwn of them.
template <int kOwn>
__global__ void __launch_bounds__(kThreads, 2) forward(AttentionProblem problem, ForwardValues values) {
  __shared__ float outs[kWarps][kOwn * kWarp], tops[kWarps], sums[kWarps];
  const AttentionShape& shape = problem.shape;
  const AttentionSpan span = find_tile(problem, static_cast<int>(blockIdx.x), 1, SpanQueries{problem.spans_of}).span;
  const SpanView view(shape, span);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int size = static_cast<int>(shape.head_size), position = view.first_position;
  const int64_t head = blockIdx.y, key_column = head / shape.group() * size;
  const int64_t query = span.query_start * shape.query_stride + head * size;
  const int64_t columns = 2 * problem.bias.reach - 1;
  const float* const bias =
      problem.bias.table == nullptr ? nullptr : problem.bias.table + head * columns + problem.bias.reach - 1 - position;
  const DropoutRow mask = mask_row(problem, span.record, head, position);

  float q[kOwn], out[kOwn], top = -INFINITY, sum = 0;
  RKIF_UNROLL for (int c = 0; c < kOwn; ++c) {
    const int element = lane + kWarp * c;
    q[c] = element < size ? values.q[query + element] : 0.0f;
    out[c] = 0;
  }
  const int end = view.end_key(1);
  for (int begin = view.first_key(0) + warp * kAtOnce; begin < end; begin += kWarps * kAtOnce) {
    float k[kAtOnce][kOwn], v[kAtOnce][kOwn], scores[kAtOnce];
    RKIF_UNROLL for (int j = 0; j < kAtOnce; ++j) {
      const int key = begin + j;
      const bool own = key >= span.prefix_length;
      const int64_t row = own ? span.key_start + key - span.prefix_length : span.prefix_start + key;
      const float* const k_row = (own ? values.k : values.prefix.k) + row * shape.key_stride + key_column;
      const float* const v_row = (own ? values.v : values.prefix.v) + row * shape.value_stride + key_column;
      RKIF_UNROLL for (int c = 0; c < kOwn; ++c) {
        const int element = lane + kWarp * c;
        const bool there = key < end && element < size;
        k[j][c] = there ? k_row[element] : 0.0f;
        v[j][c] = there ? v_row[element] : 0.0f;
      }
    }
    float reference = top;
    RKIF_UNROLL for (int j = 0; j < kAtOnce; ++j) {
      float product = 0;
      RKIF_UNROLL for (int c = 0; c < kOwn; ++c) product += q[c] * k[j][c];
      product = warp_sum(product) * shape.scale;
      if (bias != nullptr && begin + j < end) product += bias[begin + j];
      scores[j] = begin + j < end ? product : -INFINITY;
      reference = scores[j] > reference ? scores[j] : reference;
    }
    const float shrink = exponential(top - (reference == -INFINITY ? 0.0f : reference));
    top = reference;
    sum *= shrink;
    RKIF_UNROLL for (int c = 0; c < kOwn; ++c) out[c] *= shrink;
    RKIF_UNROLL for (int j = 0; j < kAtOnce; ++j) {
      const float weight = exponential(scores[j] - (top == -INFINITY ? 0.0f : top));
      sum += weight;
      const float left = keeps(problem, mask, begin + j) ? weight : 0.0f;
      RKIF_UNROLL for (int c = 0; c < kOwn; ++c) out[c] += left * v[j][c];
    }
  }

  RKIF_UNROLL for (int c = 0; c < kOwn; ++c) outs[warp][lane + kWarp * c] = out[c];
  if (lane == 0) {
    tops[warp] = top;
    sums[warp] = sum;
  }
  __syncthreads();
  for (int i = 0; i < kWarps; ++i) top = tops[i] > top ? tops[i] : top;
  const float reference = top == -INFINITY ? 0.0f : top;
  sum = 0;
  for (int i = 0; i < kWarps; ++i) sum += sums[i] * exponential(tops[i] - reference);
  for (int element = static_cast<int>(threadIdx.x); element < size; element += kThreads) {
    float all = 0;
    for (int i = 0; i < kWarps; ++i) all += outs[i][element] * exponential(tops[i] - reference);
    values.out[query + element] = all * (problem.keep_scale / sum);
  }
  if (threadIdx.x == 0 && values.log_sum_exp != nullptr) {
    values.log_sum_exp[head * problem.query_rows + span.query_start] = top + logf(sum);
  }
}

}  // namespace

void single_query_forward(const Context& context, const AttentionProblem& problem, const HostSpans& spans,
                          const ForwardValues& values) {
  const int queries = count_tiles(spans, 1, SpanQueries{problem.spans_of});
  if (queries == 0) return;
  const auto run = [&](auto kernel) {
    launch(context, "attention_forward_single", dim3(queries, problem.shape.heads), kThreads, 0, kernel, problem,
           values);
  };
  const int64_t size = problem.shape.head_size;
  if (size <= 64) return run(forward<2>);
  if (size <= 128) return run(forward<4>);
  run(forward<8>);
}

}  // namespace rkif::cuda
