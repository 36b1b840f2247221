#include "kernels/attention_check.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_parts.h"

namespace rkif::cuda {
namespace {

constexpr int kThreads = 256;

// mean_grad[head, row] = grad_out . out, one warp each.
__global__ void __launch_bounds__(kThreads)
    mean_gradients(AttentionShape shape, int64_t rows, const float* grad_out, const float* out, float* mean_grad) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t i = grid_index() / kWarp; i < rows * shape.heads; i += grid_size() / kWarp) {
    // Heads of one row, one after the other: they lie together.
    const int64_t row = i / shape.heads, head = i % shape.heads;
    const int64_t from = row * shape.query_stride + head * shape.head_size;
    float sum = 0;
    for (int64_t d = lane; d < shape.head_size; d += kWarp) sum += grad_out[from + d] * out[from + d];
    sum = warp_sum(sum);
    if (lane == 0) mean_grad[head * rows + row] = sum;
  }
}

constexpr int kOffsets = 32;                  // of a block of add_sums
constexpr int kShares = kThreads / kOffsets;  // the tiles are dealt out among so many threads for each

__global__ void __launch_bounds__(kThreads) add_sums(int64_t reach, int tiles, OffsetSums sums, float* gradient) {
  __shared__ float shares[kShares][kOffsets];
  const int64_t columns = 2 * reach - 1, head = blockIdx.y, heads = gridDim.y;
  const int x = static_cast<int>(threadIdx.x) % kOffsets, share = static_cast<int>(threadIdx.x) / kOffsets;
  const int64_t column = int64_t{blockIdx.x} * kOffsets + x, offset = column - (reach - 1);
  float sum = 0;
  for (int tile = share; tile < tiles; tile += kShares) {
    const int64_t i = offset - sums.first_offsets[tile];
    if (i >= 0 && i < sums.counts[tile]) sum += sums.entries[(tile * heads + head) * sums.width + i];
  }
  shares[share][x] = sum;
  __syncthreads();
  if (share != 0 || column >= columns) return;
  for (int other = 1; other < kShares; ++other) sum += shares[other][x];
  gradient[head * columns + column] += sum;
}

AttentionProblem problem_of(const AttentionShape& shape, const DeviceSpans& spans, const OffsetBias& bias,
                            const AttentionDropout& dropout, int64_t query_rows) {
  if (shape.head_size > kMostHeadSize) {
    throw std::invalid_argument("attention on the GPU: heads of " + std::to_string(shape.head_size) +
                                " elements, expected at most " + std::to_string(kMostHeadSize));
  }
  const uint32_t threshold = dropout_threshold(dropout.rate);
  return {shape,
          spans.device,
          bias,
          dropout.site_key,
          threshold,
          threshold == 0 ? 1.0f : static_cast<float>(1.0 / (1.0 - dropout.rate)),
          static_cast<int64_t>(spans.host.size()),
          query_rows};
}

}  // namespace

void add_offset_sums(const Context& context, int64_t heads, int64_t reach, int tiles, const OffsetSums& sums,
                     float* gradient) {
  const auto blocks = static_cast<unsigned>(divide_up(2 * reach - 1, kOffsets));
  launch(context, "attention_bias_gradient", dim3(blocks, static_cast<unsigned>(heads)), kThreads, 0, add_sums, reach,
         tiles, sums, gradient);
}

void attention_forward(const Context& context, const AttentionShape& shape, const DeviceSpans& spans,
                       const OffsetBias& bias, const AttentionDropout& dropout, const float* q, const float* k,
                       const float* v, float* out, float* log_sum_exp, int64_t query_rows,
                       const AttentionPrefix& prefix) {
  check_attention(shape, spans.host, bias, dropout);
  AttentionProblem problem = problem_of(shape, spans, bias, dropout, query_rows);
  const ForwardValues values{q, k, v, prefix, out, log_sum_exp};
  problem.spans_of = SpansOf::kSingleQueries;
  single_query_forward(context, problem, spans.host, values);
  problem.spans_of = shape.narrow ? SpansOf::kSeveralButNotNarrow : SpansOf::kSeveralQueries;
  exact_forward(context, problem, spans.host, values);
  if (!shape.narrow) return;
  problem.spans_of = SpansOf::kNarrow;
  narrow_forward(context, problem, spans.host, values);
}

void attention_backward(const Context& context, const AttentionShape& shape, const DeviceSpans& spans,
                        const OffsetBias& bias, const AttentionDropout& dropout, const float* q, const float* k,
                        const float* v, const float* out, const float* log_sum_exp, int64_t query_rows,
                        const float* grad_out, float* grad_q, float* grad_k, float* grad_v, float* grad_bias) {
  check_attention_backward(shape, spans.host, bias, dropout);
  AttentionProblem problem = problem_of(shape, spans, bias, dropout, query_rows);
  if (spans.host.empty() || query_rows == 0) return;
  Scratch<float> mean_grad(context, shape.heads * query_rows);
  launch(context, "attention_mean_gradients", grid_for(context, shape.heads * query_rows, kThreads / kWarp), kThreads,
         0, mean_gradients, shape, query_rows, grad_out, out, mean_grad.data());
  const BackwardValues values{q, k, v, log_sum_exp, grad_out, mean_grad.data(), grad_q, grad_k, grad_v, grad_bias};
  if (shape.narrow && shape.head_size <= kMostNarrowHeadSize) {
    problem.spans_of = SpansOf::kNarrow;
    narrow_backward(context, problem, spans.host, values);
    problem.spans_of = SpansOf::kNotNarrow;
  }
  exact_backward(context, problem, spans.host, values);
}

}  // namespace rkif::cuda
