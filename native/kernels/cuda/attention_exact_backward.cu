// Attention with products and sums in fp32: gradients.
#include "kernels/cuda/attention_exact.h"
#include "kernels/exponential.h"

namespace rkif::cuda {
namespace {

using namespace exact;

// What the backward pass knows of each query of a tile.
template <class T>
struct QueryFacts {
  float log_sum_exp[T::kTile], mean_grad[T::kTile];
  DropoutRow mask[T::kTile];

  // Those from row `row` on, at `position` in their span.
  __device__ void load(const AttentionProblem& problem, const BackwardValues& values, uint32_t record, int64_t head,
                       int64_t row, int position, int count) {
    const int i = static_cast<int>(threadIdx.x);
    if (i >= T::kTile) return;
    const int64_t at = head * problem.query_rows + row + i;
    log_sum_exp[i] = i < count ? values.log_sum_exp[at] : 0.0f;
    mean_grad[i] = i < count ? values.mean_grad[at] : 0.0f;
    mask[i] = mask_row(problem, record, head, position + i);
  }
};

// Scores and gradients of the weights in; weights (after dropout) and gradients of the scores out. queries_are_rows:
// otherwise they are the columns.
template <class T, bool kQueriesAreRows>
__device__ void score_gradients(const AttentionProblem& problem, const ScoreTile& tile, const QueryFacts<T>& facts,
                                const float* bias, float (&scores)[T::kOwn][T::kOwn],
                                float (&grads)[T::kOwn][T::kOwn]) {
  RKIF_UNROLL for (int r = 0; r < T::kOwn; ++r) {
    RKIF_UNROLL for (int c = 0; c < T::kOwn; ++c) {
      const int row = thread_y() * T::kOwn + r, column = thread_x() + 16 * c;
      const int q = kQueriesAreRows ? row : column, k = kQueriesAreRows ? column : row;
      const float score = scores[r][c] * problem.shape.scale + bias[ScoreTile::bias_index<T::kTile>(q, k)];
      const float probability = tile.sees(q, k) ? exponential(score - facts.log_sum_exp[q]) : 0.0f;
      const float keep = keeps(problem, facts.mask[q], tile.key + k) ? problem.keep_scale : 0.0f;
      scores[r][c] = probability * keep;
      grads[r][c] = probability * (grads[r][c] * keep - facts.mean_grad[q]);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2) key_gradients(AttentionProblem problem, BackwardValues values) {
  float* const k = dynamic_shared<float>();
  float* const v = k + T::kVectors;
  float* const q = v + T::kVectors;
  float* const grad_out = q + T::kVectors;
  float* const weights = grad_out + T::kVectors;
  __shared__ float bias[2 * T::kTile];
  __shared__ QueryFacts<T> facts;
  const AttentionShape& shape = problem.shape;
  const TilePlace place = find_tile(problem, static_cast<int>(blockIdx.x), T::kTile, SpanKeys{problem.spans_of});
  const SpanView span(shape, place.span);
  const int64_t key_head = blockIdx.y, size = shape.head_size;
  const int first = place.index * T::kTile, keys = least(T::kTile, span.keys - first);
  const float* const k_from = values.k + (place.span.key_start + first) * shape.key_stride + key_head * size;
  const float* const v_from = values.v + (place.span.key_start + first) * shape.value_stride + key_head * size;
  load_vectors<T>(keys, size, [&](int r) { return k_from + r * shape.key_stride; }, k);
  load_vectors<T>(keys, size, [&](int r) { return v_from + r * shape.value_stride; }, v);
  float grad_k[T::kOwn][T::kOwnElements], grad_v[T::kOwn][T::kOwnElements];
  clear<T>(grad_k);
  clear<T>(grad_v);
  const int end = span.end_query(first + keys);
  for (int64_t head = key_head * shape.group(); head < (key_head + 1) * shape.group(); ++head) {
    for (int begin = span.first_query(first); begin < end; begin += T::kTile) {
      const ScoreTile tile{span, begin, first};
      const int queries = least(T::kTile, span.queries - begin);
      const int64_t row = place.span.query_start + begin, from = row * shape.query_stride + head * size;
      load_vectors<T>(queries, size, [&](int r) { return values.q + from + r * shape.query_stride; }, q);
      load_vectors<T>(queries, size, [&](int r) { return values.grad_out + from + r * shape.query_stride; }, grad_out);
      facts.load(problem, values, place.span.record, head, row, tile.position(0), queries);
      stage_bias<T::kTile, T::kTile>(problem.bias, head, tile, bias);
      __syncthreads();
      float scores[T::kOwn][T::kOwn], grads[T::kOwn][T::kOwn];
      dot_vectors<T>(k, q, scores);
      dot_vectors<T>(v, grad_out, grads);
      score_gradients<T, false>(problem, tile, facts, bias, scores, grads);
      store_scores<T>(scores, weights);
      __syncthreads();
      add_weighted<T>(weights, grad_out, grad_v);
      __syncthreads();
      store_scores<T>(grads, weights);
      __syncthreads();
      add_weighted<T>(weights, q, grad_k);
      __syncthreads();
    }
  }
  const int64_t key_row = place.span.key_start + first;
  each_sum<T>(grad_k, keys, size, [&](int, int row, int element, float x) {
    values.grad_k[(key_row + row) * shape.key_stride + key_head * size + element] = x * shape.scale;
  });
  each_sum<T>(grad_v, keys, size, [&](int, int row, int element, float x) {
    values.grad_v[(key_row + row) * shape.value_stride + key_head * size + element] = x;
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    query_gradients(AttentionProblem problem, BackwardValues values, int first_tile, OffsetSums sums) {
  float* const q = dynamic_shared<float>();
  float* const grad_out = q + T::kVectors;
  float* const k = grad_out + T::kVectors;
  float* const v = k + T::kVectors;
  float* const grads_of_scores = v + T::kVectors;
  __shared__ float bias[2 * T::kTile];
  __shared__ QueryFacts<T> facts;
  const AttentionShape& shape = problem.shape;
  const TilePlace place =
      find_tile(problem, first_tile + static_cast<int>(blockIdx.x), T::kTile, SpanQueries{problem.spans_of});
  const SpanView span(shape, place.span);
  const int64_t head = blockIdx.y, size = shape.head_size, key_column = head / shape.group() * size;
  const int first = place.index * T::kTile, queries = least(T::kTile, span.queries - first);
  const int64_t query_row = place.span.query_start + first, from = query_row * shape.query_stride + head * size;
  load_vectors<T>(queries, size, [&](int r) { return values.q + from + r * shape.query_stride; }, q);
  load_vectors<T>(queries, size, [&](int r) { return values.grad_out + from + r * shape.query_stride; }, grad_out);
  const int start = span.first_key(first), end = span.end_key(first + queries);
  const ScoreTile start_tile{span, first, start};
  facts.load(problem, values, place.span.record, head, query_row, start_tile.position(0), queries);
  float* by_offset = sums.begin<T::kTile>(start_tile, (end - start + 2 * T::kTile - 1) / T::kTile * T::kTile);
  float carry = 0;
  float grad_q[T::kOwn][T::kOwnElements];
  clear<T>(grad_q);
  for (int begin = start; begin < end; begin += T::kTile) {
    const ScoreTile tile{span, first, begin};
    const int keys = least(T::kTile, span.keys - begin);
    const float* const k_from = values.k + (place.span.key_start + begin) * shape.key_stride + key_column;
    const float* const v_from = values.v + (place.span.key_start + begin) * shape.value_stride + key_column;
    load_vectors<T>(keys, size, [&](int r) { return k_from + r * shape.key_stride; }, k);
    load_vectors<T>(keys, size, [&](int r) { return v_from + r * shape.value_stride; }, v);
    stage_bias<T::kTile, T::kTile>(problem.bias, head, tile, bias);
    __syncthreads();
    float scores[T::kOwn][T::kOwn], grads[T::kOwn][T::kOwn];
    dot_vectors<T>(q, k, scores);
    dot_vectors<T>(grad_out, v, grads);
    score_gradients<T, true>(problem, tile, facts, bias, scores, grads);
    store_scores<T>(grads, grads_of_scores);
    __syncthreads();
    add_weighted<T>(grads_of_scores, k, grad_q);
    if (by_offset != nullptr) {
      add_diagonals<T::kTile>(grads_of_scores, T::kScoreRow, carry, by_offset);
      by_offset += T::kTile;
    }
    __syncthreads();
  }
  if (by_offset != nullptr && threadIdx.x < T::kTile) by_offset[threadIdx.x] = carry;
  each_sum<T>(grad_q, queries, size, [&](int, int row, int element, float x) {
    values.grad_q[from + row * shape.query_stride + element] = x * shape.scale;
  });
}

// As in the forward pass; more vectors and sums are kept here.
template <class Run>
void backward_tiling(int64_t size, const Run& run) {
  if (size <= 32) return run(Tiling<32, 64>{});
  if (size <= 64) return run(Tiling<64, 64>{});
  if (size <= 96) return run(Tiling<96, 32>{});
  if (size <= 128) return run(Tiling<128, 32>{});
  run(Tiling<256, 16>{});
}

}  // namespace

void exact_backward(const Context& context, const AttentionProblem& problem, const HostSpans& spans,
                    const BackwardValues& values) {
  backward_tiling(problem.shape.head_size, [&](auto tiling) {
    using T = decltype(tiling);
    constexpr int64_t kShared = (4 * T::kVectors + T::kScores) * sizeof(float);
    const int tiles = count_tiles(spans, T::kTile, SpanKeys{problem.spans_of});
    if (tiles == 0) return;
    launch(context, "attention_key_gradients", dim3(tiles, problem.shape.heads / problem.shape.group()), kThreads,
           kShared, key_gradients<T>, problem, values);
    launch_query_gradients(context, problem, spans, T::kTile, values.grad_bias,
                           [&](int first, int count, const OffsetSums& sums) {
                             launch(context, "attention_query_gradients", dim3(count, problem.shape.heads), kThreads,
                                    kShared, query_gradients<T>, problem, values, first, sums);
                           });
  });
}

}  // namespace rkif::cuda
