// Attention with products of operands rounded to bfloat16, on tensor cores: forward.
#include <algorithm>
#include <optional>

#include "kernels/cuda/attention_narrow.h"

namespace rkif::cuda {
namespace narrow {
namespace {

constexpr int kPackThreads = 256;

// Eight elements of a head, of which `left` are left; zeros behind them.
__device__ void pack_piece(const float* x, int64_t left, Bfloat16* to) {
  alignas(16) float values[8];
  if (left >= 8 && reinterpret_cast<uintptr_t>(x) % 16 == 0) {
    *reinterpret_cast<float4*>(values) = *reinterpret_cast<const float4*>(x);
    *reinterpret_cast<float4*>(values + 4) = *reinterpret_cast<const float4*>(x + 4);
  } else {
    RKIF_UNROLL for (int j = 0; j < 8; ++j) values[j] = j < left ? x[j] : 0.0f;
  }
  *reinterpret_cast<uint4*>(to) = make_uint4(packed(values[0], values[1]), packed(values[2], values[3]),
                                             packed(values[4], values[5]), packed(values[6], values[7]));
}

// A piece a thread and turn; blockIdx.y: which of the matrices.
__global__ void __launch_bounds__(kPackThreads) pack(int64_t size, int64_t padded, PackedRows all) {
  const RowsToPack& rows = all.of[blockIdx.y];
  Bfloat16* const to = all.to[blockIdx.y];
  const int64_t of_vector = padded / 8, pieces = rows.count * rows.heads * of_vector;
  for (int64_t i = grid_index(); i < pieces; i += grid_size()) {
    const int64_t column = i % of_vector * 8, vector = i / of_vector, head = vector % rows.heads;
    pack_piece(rows.from + vector / rows.heads * rows.stride + head * size + column, size - column, to + 8 * i);
  }
}

// The keys ([0]) and values ([1]) of stored prompts, in the rows that they have in the store.
struct StoredRows {
  const float* from[2];
  int64_t strides[2];
  Bfloat16* to[2];
};

__global__ void __launch_bounds__(kPackThreads) pack_stored(AttentionProblem problem, int64_t padded, StoredRows all) {
  const TilePlace place = find_tile(problem, static_cast<int>(blockIdx.x), kTile, StoredKeys{problem.spans_of});
  const AttentionShape& shape = problem.shape;
  const int64_t heads = shape.heads / shape.group(), of_vector = padded / 8, first = place.index * int64_t{kTile};
  const int64_t row = place.span.prefix_start + first;
  const float* const from = all.from[blockIdx.y] + row * all.strides[blockIdx.y];
  Bfloat16* const to = all.to[blockIdx.y] + row * heads * padded;
  const int64_t pieces = std::min<int64_t>(kTile, place.span.prefix_length - first) * heads * of_vector;
  for (int64_t i = threadIdx.x; i < pieces; i += kPackThreads) {
    const int64_t column = i % of_vector * 8, vector = i / of_vector;
    pack_piece(from + vector / heads * all.strides[blockIdx.y] + vector % heads * shape.head_size + column,
               shape.head_size - column, to + 8 * i);
  }
}

struct PackedForward {
  const Bfloat16 *q, *k, *v;
  const Bfloat16 *stored_k, *stored_v;  // null: there are no stored prompts
  float* out;
  float* log_sum_exp;
};

// Neighbours that share rows.
constexpr int kRowLanes = 4;

// The softmax of the two rows of a lane, kept up as tiles of keys come.
template <int kSize>
struct Running {
  float out[kSize / 8][4], largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
};

// Scores in; weights before the division by their sum out, those that dropout drops as zeros.
template <int kSize, int kColumns>
__device__ void weigh(const AttentionProblem& problem, const ScoreTile& tile, const float* bias,
                      const DropoutRow (&masks)[2], float (&scores)[kColumns][4], Running<kSize>& running) {
  const bool whole = tile.whole(kTile, 8 * kColumns);
  RKIF_UNROLL for (int n = 0; n < kColumns; ++n) {
    RKIF_UNROLL for (int i = 0; i < 4; ++i) {
      const int row = row_of(i), column = column_of(n, i);
      scores[n][i] *= problem.shape.scale;
      if (problem.bias.table != nullptr) scores[n][i] += bias[ScoreTile::bias_index<kTile>(row, column)];
    }
  }
  if (!whole) {
    RKIF_UNROLL for (int n = 0; n < kColumns; ++n) {
      RKIF_UNROLL for (int i = 0; i < 4; ++i) {
        if (!tile.sees(row_of(i), column_of(n, i))) scores[n][i] = -INFINITY;
      }
    }
  }
  float top[2] = {running.largest[0], running.largest[1]};
  RKIF_UNROLL for (int n = 0; n < kColumns; ++n) {
    RKIF_UNROLL for (int i = 0; i < 4; ++i) top[i / 2] = scores[n][i] > top[i / 2] ? scores[n][i] : top[i / 2];
  }
  RKIF_UNROLL for (int r = 0; r < 2; ++r) {
    top[r] = warp_max<kRowLanes>(top[r]);
    // No key seen yet: any reference will do, but infinity.
    const float reference = top[r] == -INFINITY ? 0.0f : top[r];
    const float shrink = __expf(running.largest[r] - reference);
    running.largest[r] = top[r];
    running.sum[r] *= shrink;
    RKIF_UNROLL for (int n = 0; n < kSize / 8; ++n) {
      running.out[n][2 * r] *= shrink;
      running.out[n][2 * r + 1] *= shrink;
    }
    RKIF_UNROLL for (int n = 0; n < kColumns; ++n) {
      RKIF_UNROLL for (int i = 2 * r; i < 2 * r + 2; ++i) {
        const float weight = __expf(scores[n][i] - reference);
        running.sum[r] += weight;
        scores[n][i] = keeps(problem, masks[r], tile.key + column_of(n, i)) ? weight : 0.0f;
      }
    }
  }
}

template <int kSize, int kKeys>
__global__ void __launch_bounds__(kThreads) forward(AttentionProblem problem, PackedForward values) {
  Bfloat16* const q = dynamic_shared<Bfloat16>();
  Bfloat16* const k = q + kTile * kRow<kSize>;
  Bfloat16* const v = k + kKeys * kRow<kSize>;
  __shared__ float bias[kTile + kKeys];
  const AttentionShape& shape = problem.shape;
  const TilePlace place = find_tile(problem, static_cast<int>(blockIdx.x), kTile, SpanQueries{problem.spans_of});
  const SpanView span(shape, place.span);
  const int64_t head = blockIdx.y, q_stride = shape.heads * kSize, key_stride = shape.heads / shape.group() * kSize;
  const int first = place.index * kTile, queries = least(kTile, span.queries - first);
  const int64_t query_row = place.span.query_start + first;
  const bool stored = is_stored_prompt(place.span);
  const Bfloat16 *const keys = stored ? values.stored_k : values.k, *const key_values =
                                                                        stored ? values.stored_v : values.v;
  const int64_t keys_from =
      (stored ? place.span.prefix_start : place.span.key_start) * key_stride + head / shape.group() * kSize;
  const auto begin_keys = [&](const Bfloat16* from, int begin, Bfloat16* to) {
    copy_vectors<kSize, kKeys>(from + keys_from + begin * key_stride, key_stride, span.keys - begin, to);
  };

  const int end = span.end_key(first + queries);
  int begin = span.first_key(first);
  copy_vectors<kSize, kTile>(values.q + query_row * q_stride + head * kSize, q_stride, queries, q);
  begin_keys(keys, begin, k);
  DropoutRow masks[2];
  RKIF_UNROLL for (int r = 0; r < 2; ++r) {
    masks[r] = mask_row(problem, place.span.record, head, span.first_position + first + row_of(2 * r));
  }
  Running<kSize> running;
  clear(running.out);
  for (; begin < end; begin += kKeys) {
    const ScoreTile tile{span, first, begin};
    if (problem.bias.table != nullptr) stage_bias<kTile, kKeys>(problem.bias, head, tile, bias);
    // The keys are there, and nobody reads the values of the tile before any more.
    wait_for_copies();
    __syncthreads();
    begin_keys(key_values, begin, v);
    float scores[kKeys / 8][4];
    dot_vectors<kSize>(q, k, scores);
    weigh(problem, tile, bias, masks, scores, running);
    uint32_t weights[kKeys / 16][4];
    narrowed(scores, weights);
    // The values are there, and nobody reads the keys and the bias any more.
    wait_for_copies();
    __syncthreads();
    if (begin + kKeys < end) begin_keys(keys, begin + kKeys, k);
    add_weighted<kSize>(weights, v, running.out);
  }
  float inverse[2];
  RKIF_UNROLL for (int r = 0; r < 2; ++r) {
    const float sum = warp_sum<kRowLanes>(running.sum[r]);
    inverse[r] = problem.keep_scale / sum;
    const int row = row_of(2 * r);
    if (values.log_sum_exp != nullptr && lane() % 4 == 0 && row < queries) {
      values.log_sum_exp[head * problem.query_rows + query_row + row] = running.largest[r] + logf(sum);
    }
  }
  float* const to = values.out + query_row * shape.query_stride + head * shape.head_size;
  each_pair<kSize>(running.out, queries, shape.head_size, [&](int i, int row, int element, float x, float next) {
    store_pair(to + row * shape.query_stride + element, x * inverse[i / 2], next * inverse[i / 2],
               element + 1 < shape.head_size);
  });
}

template <int kSize, int kKeys>
void run_forward(const Context& context, const AttentionProblem& problem, const HostSpans& spans,
                 const ForwardValues& values) {
  const AttentionShape& s = problem.shape;
  const int tiles = count_tiles(spans, kTile, SpanQueries{problem.spans_of});
  if (tiles == 0) return;
  const RowCounts rows(problem, spans);
  const int64_t key_heads = s.heads / s.group();
  const NarrowRows narrow(context, s.head_size, kSize,
                          {{values.q, rows.queries, s.heads, s.query_stride},
                           {values.k, rows.keys, key_heads, s.key_stride},
                           {values.v, rows.keys, key_heads, s.value_stride}});
  std::optional<Scratch<Bfloat16>> stored;
  PackedForward packed{narrow[0], narrow[1], narrow[2], nullptr, nullptr, values.out, values.log_sum_exp};
  const StoredKeys stored_keys{problem.spans_of};
  if (const int stored_tiles = count_tiles(spans, kTile, stored_keys); stored_tiles > 0) {
    int64_t end = 0;
    for (const AttentionSpan& span : spans) {
      if (stored_keys(span) > 0) end = std::max(end, span.prefix_start + span.prefix_length);
    }
    const int64_t elements = end * key_heads * kSize;
    stored.emplace(context, 2 * elements);
    const StoredRows all{{values.prefix.k, values.prefix.v},
                         {s.key_stride, s.value_stride},
                         {stored->data(), stored->data() + elements}};
    packed.stored_k = all.to[0];
    packed.stored_v = all.to[1];
    launch(context, "attention_pack_stored", dim3(stored_tiles, 2), kPackThreads, 0, pack_stored, problem, kSize, all);
  }
  launch(context, "attention_forward_narrow", dim3(tiles, s.heads), kThreads,
         (kTile + 2 * kKeys) * kRow<kSize> * sizeof(Bfloat16), forward<kSize, kKeys>, problem, packed);
}

}  // namespace

void pack_rows(const Context& context, int64_t size, int64_t padded, const PackedRows& rows, int count) {
  int64_t pieces = 0;
  for (int i = 0; i < count; ++i) pieces = std::max(pieces, rows.of[i].elements(padded) / 8);
  const unsigned blocks = grid_for(context, pieces, kPackThreads);
  launch(context, "attention_pack", dim3(blocks, static_cast<unsigned>(count)), kPackThreads, 0, pack, size, padded,
         rows);
}

}  // namespace narrow

void narrow_forward(const Context& context, const AttentionProblem& problem, const HostSpans& spans,
                    const ForwardValues& values) {
  if (problem.shape.head_size > 128) return narrow::run_forward<256, 32>(context, problem, spans, values);
  narrow::for_size(problem.shape.head_size,
                   [&](auto size) { narrow::run_forward<decltype(size)::value, 64>(context, problem, spans, values); });
}

}  // namespace rkif::cuda
