// Attention with products and sums in fp32: forward.
#include "kernels/cuda/attention_exact.h"
#include "kernels/exponential.h"

namespace rkif::cuda {
namespace {

using namespace exact;

// Neighbours that share rows.
constexpr int kRowLanes = 16;

template <class T>
__global__ void __launch_bounds__(kThreads, 2) forward(AttentionProblem problem, ForwardValues values) {
  float* const q = dynamic_shared<float>();
  float* const kv = q + T::kVectors;
  float* const weights = kv + T::kVectors;
  __shared__ float bias[2 * T::kTile];
  __shared__ DropoutRow masks[T::kTile];
  const AttentionShape& shape = problem.shape;
  const TilePlace place = find_tile(problem, static_cast<int>(blockIdx.x), T::kTile, SpanQueries{problem.spans_of});
  const SpanView span(shape, place.span);
  const int64_t head = blockIdx.y, size = shape.head_size, key_column = head / shape.group() * size;
  const int first = place.index * T::kTile, queries = least(T::kTile, span.queries - first);
  const int64_t query_row = place.span.query_start + first;
  const auto key_row = [&](const float* own, const float* prefix, int64_t stride, int key) {
    return key < place.span.prefix_length
               ? prefix + (place.span.prefix_start + key) * stride + key_column
               : own + (place.span.key_start + key - place.span.prefix_length) * stride + key_column;
  };

  load_vectors<T>(
      queries, size, [&](int r) { return values.q + (query_row + r) * shape.query_stride + head * size; }, q);
  if (threadIdx.x < T::kTile) {
    masks[threadIdx.x] =
        mask_row(problem, place.span.record, head, span.first_position + first + static_cast<int>(threadIdx.x));
  }
  float out[T::kOwn][T::kOwnElements], largest[T::kOwn], sum[T::kOwn];
  clear<T>(out);
  RKIF_UNROLL for (int r = 0; r < T::kOwn; ++r) {
    largest[r] = -INFINITY;
    sum[r] = 0;
  }
  const int end = span.end_key(first + queries);
  for (int begin = span.first_key(first); begin < end; begin += T::kTile) {
    const ScoreTile tile{span, first, begin};
    const int keys = least(T::kTile, span.keys - begin);
    load_vectors<T>(
        keys, size, [&](int r) { return key_row(values.k, values.prefix.k, shape.key_stride, begin + r); }, kv);
    stage_bias<T::kTile, T::kTile>(problem.bias, head, tile, bias);
    __syncthreads();
    float scores[T::kOwn][T::kOwn];
    dot_vectors<T>(q, kv, scores);
    RKIF_UNROLL for (int r = 0; r < T::kOwn; ++r) {
      const int row = thread_y() * T::kOwn + r;
      float top = largest[r];
      RKIF_UNROLL for (int c = 0; c < T::kOwn; ++c) {
        const int column = thread_x() + 16 * c;
        const float score = scores[r][c] * shape.scale + bias[ScoreTile::bias_index<T::kTile>(row, column)];
        scores[r][c] = tile.sees(row, column) ? score : -INFINITY;
        top = scores[r][c] > top ? scores[r][c] : top;
      }
      top = warp_max<kRowLanes>(top);
      // No key seen yet: any reference will do, but infinity.
      const float reference = top == -INFINITY ? 0.0f : top;
      const float shrink = exponential(largest[r] - reference);
      largest[r] = top;
      sum[r] *= shrink;
      RKIF_UNROLL for (int c = 0; c < T::kOwnElements; ++c) out[r][c] *= shrink;
      RKIF_UNROLL for (int c = 0; c < T::kOwn; ++c) {
        const float weight = exponential(scores[r][c] - reference);
        sum[r] += weight;
        scores[r][c] = keeps(problem, masks[row], begin + thread_x() + 16 * c) ? weight : 0.0f;
      }
    }
    store_scores<T>(scores, weights);
    __syncthreads();
    load_vectors<T>(
        keys, size, [&](int r) { return key_row(values.v, values.prefix.v, shape.value_stride, begin + r); }, kv);
    __syncthreads();
    add_weighted<T>(weights, kv, out);
    __syncthreads();
  }
  float inverse[T::kOwn];
  RKIF_UNROLL for (int r = 0; r < T::kOwn; ++r) {
    const int row = thread_y() * T::kOwn + r;
    sum[r] = warp_sum<kRowLanes>(sum[r]);
    inverse[r] = problem.keep_scale / sum[r];
    if (values.log_sum_exp != nullptr && thread_x() == 0 && row < queries) {
      values.log_sum_exp[head * problem.query_rows + query_row + row] = largest[r] + logf(sum[r]);
    }
  }
  each_sum<T>(out, queries, size, [&](int r, int row, int element, float x) {
    values.out[(query_row + row) * shape.query_stride + head * size + element] = x * inverse[r];
  });
}

// For heads of this size. Large vectors have fewer in a tile, as a block's shared memory is 99 KiB on the smallest
// card.
template <class Run>
void forward_tiling(int64_t size, const Run& run) {
  if (size <= 32) return run(Tiling<32, 64>{});
  if (size <= 64) return run(Tiling<64, 64>{});
  if (size <= 96) return run(Tiling<96, 64>{});
  if (size <= 128) return run(Tiling<128, 64>{});
  run(Tiling<256, 32>{});
}
}  // namespace

void exact_forward(const Context& context, const AttentionProblem& problem, const HostSpans& spans,
                   const ForwardValues& values) {
  forward_tiling(problem.shape.head_size, [&](auto tiling) {
    using T = decltype(tiling);
    const int tiles = count_tiles(spans, T::kTile, SpanQueries{problem.spans_of});
    if (tiles == 0) return;
    launch(context, "attention_forward", dim3(tiles, problem.shape.heads), kThreads,
           (2 * T::kVectors + T::kScores) * sizeof(float), forward<T>, problem, values);
  });
}

}  // namespace rkif::cuda
