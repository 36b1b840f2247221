// Attention with products of operands rounded to bfloat16, on tensor cores: gradients.
#include "kernels/cuda/attention_narrow.h"

namespace rkif::cuda {
namespace narrow {
namespace {

struct PackedBackward {
  const Bfloat16 *q, *k, *v, *grad_out;
};

// What a query's scores need.
struct QueryFacts {
  float log_sum_exp, mean_grad;
  DropoutRow mask;
};

// Of the query q of a tile; anything for one that does not exist.
__device__ inline QueryFacts facts_of(const AttentionProblem& problem, const BackwardValues& values,
                                      const AttentionSpan& span, int64_t head, const ScoreTile& tile, int q) {
  if (tile.query + q >= tile.span.queries) return {0, 0, {}};
  const int64_t at = head * problem.query_rows + span.query_start + tile.query + q;
  return {values.log_sum_exp[at], values.mean_grad[at], mask_row(problem, span.record, head, tile.position(q))};
}

// Products in, probabilities out, whose sign says what dropout does: negative where they are dropped.
// kQueriesAreRows: otherwise they are the columns. facts(element of a lane, column): the query's.
template <bool kQueriesAreRows, int kQueries, int kKeys, int kColumns, class Facts>
__device__ void signed_probabilities(const AttentionProblem& problem, const ScoreTile& tile, const Facts& facts,
                                     const float* bias, float (&x)[kColumns][4]) {
  const bool whole = tile.whole(kQueries, kKeys);
  RKIF_UNROLL for (int n = 0; n < kColumns; ++n) {
    RKIF_UNROLL for (int i = 0; i < 4; ++i) {
      const int row = row_of(i), column = column_of(n, i);
      const int q = kQueriesAreRows ? row : column, k = kQueriesAreRows ? column : row;
      const QueryFacts& query = facts(i, column);
      float score = x[n][i] * problem.shape.scale;
      if (problem.bias.table != nullptr) score += bias[ScoreTile::bias_index<kQueries>(q, k)];
      const float probability = __expf(score - query.log_sum_exp);
      x[n][i] = keeps(problem, query.mask, tile.key + k) ? probability : -probability;
    }
  }
  if (whole) return;
  RKIF_UNROLL for (int n = 0; n < kColumns; ++n) {
    RKIF_UNROLL for (int i = 0; i < 4; ++i) {
      const int row = row_of(i), column = column_of(n, i);
      if (!tile.sees(kQueriesAreRows ? row : column, kQueriesAreRows ? column : row)) x[n][i] = 0;
    }
  }
}
__device__ inline float score_gradient(const AttentionProblem& problem, float probability, float grad_weight,
                                       float mean_grad) {
  return fabsf(probability) * ((probability < 0 ? 0.0f : grad_weight * problem.keep_scale) - mean_grad);
}

// For the whole block.
__device__ inline void clear_rows(int rows, int64_t size, int64_t stride, float* to) {
  for (int64_t i = threadIdx.x; i < rows * size; i += kThreads) to[i / size * stride + i % size] = 0;
}

// Rows of products are keys, columns queries.
template <int kSize, int kQueries>
__global__ void __launch_bounds__(kThreads, 2)
    key_gradients(AttentionProblem problem, BackwardValues values, PackedBackward rows) {
  constexpr int kColumns = kQueries / 8, kVectors = kQueries * kRow<kSize>;
  Bfloat16* const k = dynamic_shared<Bfloat16>();
  Bfloat16* const v = k + kTile * kRow<kSize>;
  // Two of each: one is filled while the other is read.
  Bfloat16* const q = v + kTile * kRow<kSize>;
  Bfloat16* const grad_out = q + 2 * kVectors;
  __shared__ QueryFacts facts[2][kQueries];
  __shared__ float bias[2][kQueries + kTile];
  const AttentionShape& shape = problem.shape;
  const TilePlace place = find_tile(problem, static_cast<int>(blockIdx.x), kTile, SpanKeys{problem.spans_of});
  const SpanView span(shape, place.span);
  const int64_t key_head = blockIdx.y, group = shape.group(), q_stride = shape.heads * kSize;
  const int first = place.index * kTile, keys = least(kTile, span.keys - first);
  const int start = span.first_query(first), end = span.end_query(first + keys);
  const auto at_keys = [&](int64_t stride) {
    return (place.span.key_start + first) * stride + key_head * shape.head_size;
  };

  if (start >= end) {
    // Nobody sees these keys.
    clear_rows(keys, shape.head_size, shape.key_stride, at_keys(shape.key_stride) + values.grad_k);
    clear_rows(keys, shape.head_size, shape.value_stride, at_keys(shape.value_stride) + values.grad_v);
    return;
  }

  const int tiles = (end - start + kQueries - 1) / kQueries, steps = tiles * static_cast<int>(group);
  const auto begin_step = [&](int step) {
    const int64_t head = key_head * group + step / tiles;
    const ScoreTile tile{span, start + step % tiles * kQueries, first};
    const int64_t from = (place.span.query_start + tile.query) * q_stride + head * kSize;
    const int count = span.queries - tile.query, half = step % 2;
    copy_vectors<kSize, kQueries>(rows.q + from, q_stride, count, q + half * kVectors);
    copy_vectors<kSize, kQueries>(rows.grad_out + from, q_stride, count, grad_out + half * kVectors);
    if (threadIdx.x < kQueries) {
      facts[half][threadIdx.x] = facts_of(problem, values, place.span, head, tile, static_cast<int>(threadIdx.x));
    }
    if (problem.bias.table != nullptr) stage_bias<kQueries, kTile>(problem.bias, head, tile, bias[half]);
  };
  const int64_t key_stride = shape.heads / group * kSize;
  const int64_t keys_from = (place.span.key_start + first) * key_stride + key_head * kSize;
  copy_vectors<kSize, kTile>(rows.k + keys_from, key_stride, keys, k);
  copy_vectors<kSize, kTile>(rows.v + keys_from, key_stride, keys, v);
  begin_step(0);
  float grad_k[kSize / 8][4], grad_v[kSize / 8][4];
  clear(grad_k);
  clear(grad_v);
  for (int step = 0; step < steps; ++step) {
    // This step's queries are there, and nobody reads those of the step before any more.
    wait_for_copies();
    __syncthreads();
    if (step + 1 < steps) begin_step(step + 1);
    const ScoreTile tile{span, start + step % tiles * kQueries, first};
    const int half = step % 2;
    float scores[kColumns][4], grads[kColumns][4];
    uint32_t weights[kQueries / 16][4];
    dot_vectors<kSize>(k, q + half * kVectors, scores);
    signed_probabilities<false, kQueries, kTile>(
        problem, tile, [&](int, int column) -> const QueryFacts& { return facts[half][column]; }, bias[half], scores);
    RKIF_UNROLL for (int n = 0; n < kColumns; ++n) {
      RKIF_UNROLL for (int i = 0; i < 4; ++i) grads[n][i] = scores[n][i] < 0 ? 0.0f : scores[n][i];
    }
    narrowed(grads, weights);
    add_weighted<kSize>(weights, grad_out + half * kVectors, grad_v);
    dot_vectors<kSize>(v, grad_out + half * kVectors, grads);
    RKIF_UNROLL for (int n = 0; n < kColumns; ++n) {
      RKIF_UNROLL for (int i = 0; i < 4; ++i) {
        grads[n][i] = score_gradient(problem, scores[n][i], grads[n][i], facts[half][column_of(n, i)].mean_grad);
      }
    }
    narrowed(grads, weights);
    add_weighted<kSize>(weights, q + half * kVectors, grad_k);
  }
  const auto write = [&](const float (&sums)[kSize / 8][4], float scale, int64_t stride, float* to) {
    to += at_keys(stride);
    each_pair<kSize>(sums, keys, shape.head_size, [&](int, int row, int element, float x, float next) {
      store_pair(to + row * stride + element, x * scale, next * scale, element + 1 < shape.head_size);
    });
  };
  write(grad_k, shape.scale, shape.key_stride, values.grad_k);
  write(grad_v, problem.keep_scale, shape.value_stride, values.grad_v);
}

constexpr int kScoreRow = kTile + 4;

// Rows of products are queries, columns keys.
template <int kSize>
__global__ void __launch_bounds__(kThreads, 2) query_gradients(AttentionProblem problem, BackwardValues values,
                                                               PackedBackward rows, int first_tile, OffsetSums sums) {
  constexpr int kColumns = kTile / 8, kVectors = kTile * kRow<kSize>;
  Bfloat16* const q = dynamic_shared<Bfloat16>();
  Bfloat16* const grad_out = q + kVectors;
  Bfloat16* const k = grad_out + kVectors;
  Bfloat16* const v = k + kVectors;
  // Only where the bias's gradient is wanted.
  float* const grads_of_scores = reinterpret_cast<float*>(v + kVectors);
  __shared__ float bias[2 * kTile];
  const AttentionShape& shape = problem.shape;
  const TilePlace place =
      find_tile(problem, first_tile + static_cast<int>(blockIdx.x), kTile, SpanQueries{problem.spans_of});
  const SpanView span(shape, place.span);
  const int64_t head = blockIdx.y, q_stride = shape.heads * kSize, key_stride = shape.heads / shape.group() * kSize;
  const int first = place.index * kTile, queries = least(kTile, span.queries - first);
  const int64_t query_row = place.span.query_start + first, from = query_row * q_stride + head * kSize;
  const int64_t keys_from = place.span.key_start * key_stride + head / shape.group() * kSize;
  copy_vectors<kSize, kTile>(rows.q + from, q_stride, queries, q);
  copy_vectors<kSize, kTile>(rows.grad_out + from, q_stride, queries, grad_out);
  const int start = span.first_key(first), end = span.end_key(first + queries);
  const ScoreTile start_tile{span, first, start};
  QueryFacts facts[2];
  RKIF_UNROLL for (int r = 0; r < 2; ++r) {
    facts[r] = facts_of(problem, values, place.span, head, start_tile, row_of(2 * r));
  }
  float* by_offset = sums.begin<kTile>(start_tile, (end - start + 2 * kTile - 1) / kTile * kTile);
  float carry = 0;
  float grad_q[kSize / 8][4];
  clear(grad_q);
  for (int begin = start; begin < end; begin += kTile) {
    const ScoreTile tile{span, first, begin};
    copy_vectors<kSize, kTile>(rows.k + keys_from + begin * key_stride, key_stride, span.keys - begin, k);
    copy_vectors<kSize, kTile>(rows.v + keys_from + begin * key_stride, key_stride, span.keys - begin, v);
    if (problem.bias.table != nullptr) stage_bias<kTile, kTile>(problem.bias, head, tile, bias);
    wait_for_copies();
    __syncthreads();
    float scores[kColumns][4], grads[kColumns][4];
    dot_vectors<kSize>(q, k, scores);
    dot_vectors<kSize>(grad_out, v, grads);
    signed_probabilities<true, kTile, kTile>(
        problem, tile, [&](int i, int) -> const QueryFacts& { return facts[i / 2]; }, bias, scores);
    RKIF_UNROLL for (int n = 0; n < kColumns; ++n) {
      RKIF_UNROLL for (int i = 0; i < 4; ++i) {
        grads[n][i] = score_gradient(problem, scores[n][i], grads[n][i], facts[i / 2].mean_grad);
        if (by_offset != nullptr) grads_of_scores[row_of(i) * kScoreRow + column_of(n, i)] = grads[n][i];
      }
    }
    uint32_t weights[kTile / 16][4];
    narrowed(grads, weights);
    add_weighted<kSize>(weights, k, grad_q);
    // Nobody reads these keys, values and biases any more, and all gradients of scores are there.
    __syncthreads();
    if (by_offset != nullptr) {
      add_diagonals<kTile>(grads_of_scores, kScoreRow, carry, by_offset);
      by_offset += kTile;
    }
  }
  if (by_offset != nullptr && threadIdx.x < kTile) by_offset[threadIdx.x] = carry;
  float* const to = values.grad_q + query_row * shape.query_stride + head * shape.head_size;
  each_pair<kSize>(grad_q, queries, shape.head_size, [&](int, int row, int element, float x, float next) {
    store_pair(to + row * shape.query_stride + element, x * shape.scale, next * shape.scale,
               element + 1 < shape.head_size);
  });
}

template <int kSize>
void run_backward(const Context& context, const AttentionProblem& problem, const HostSpans& spans,
                  const BackwardValues& values) {
  // Fewer queries at once where the sums of k's and v's gradients fill the registers.
  constexpr int kQueries = kSize > 32 ? 32 : 64;
  const AttentionShape& s = problem.shape;
  const int tiles = count_tiles(spans, kTile, SpanKeys{problem.spans_of});
  if (tiles == 0) return;
  const RowCounts rows(problem, spans);
  const int64_t key_heads = s.heads / s.group();
  const NarrowRows narrow(context, s.head_size, kSize,
                          {{values.q, rows.queries, s.heads, s.query_stride},
                           {values.k, rows.keys, key_heads, s.key_stride},
                           {values.v, rows.keys, key_heads, s.value_stride},
                           {values.grad_out, rows.queries, s.heads, s.query_stride}});
  const PackedBackward packed{narrow[0], narrow[1], narrow[2], narrow[3]};
  constexpr int64_t kVector = kRow<kSize> * sizeof(Bfloat16);
  launch(context, "attention_key_gradients_narrow", dim3(tiles, key_heads), kThreads,
         (2 * kTile + 4 * kQueries) * kVector, key_gradients<kSize, kQueries>, problem, values, packed);
  const int64_t shared = 4 * kTile * kVector + (values.grad_bias == nullptr ? 0 : kTile * kScoreRow * sizeof(float));
  launch_query_gradients(context, problem, spans, kTile, values.grad_bias,
                         [&](int first, int count, const OffsetSums& sums) {
                           launch(context, "attention_query_gradients_narrow", dim3(count, s.heads), kThreads, shared,
                                  query_gradients<kSize>, problem, values, packed, first, sums);
                         });
}

}  // namespace
}  // namespace narrow

void narrow_backward(const Context& context, const AttentionProblem& problem, const HostSpans& spans,
                     const BackwardValues& values) {
  narrow::for_size(problem.shape.head_size,
                   [&](auto size) { narrow::run_backward<decltype(size)::value>(context, problem, spans, values); });
}

}  // namespace rkif::cuda
