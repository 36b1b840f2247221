// What the kernels of attention share, whatever they multiply with: which tile of which span a block works on, which of
// its scores exist, the bias along a tile, and sums of a tile along its diagonals.
#pragma once
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/unroll.h"

namespace rkif::cuda {

__device__ inline int least(int a, int b) { return a < b ? a : b; }

// A prompt, or the end of one, whose keys are all in the store that they have just been written to.
RKIF_HOST_DEVICE inline bool is_stored_prompt(const AttentionSpan& span) {
  return span.key_length == 0 && span.prefix_length >= span.query_length;
}

// The spans that one launch takes. Narrow products are for several queries at once: a single one waits for its keys to
// be read and nothing else, so that they are not rewritten in bfloat16 for it, and those of a prefix are not either,
// but for a stored prompt's.
enum class SpansOf { kAll, kSingleQueries, kSeveralQueries, kNarrow, kSeveralButNotNarrow, kNotNarrow };
RKIF_HOST_DEVICE inline bool takes(SpansOf which, const AttentionSpan& span) {
  const bool several = span.query_length > 1;
  const bool narrow = several && (span.prefix_length == 0 || is_stored_prompt(span));
  switch (which) {
    case SpansOf::kAll:
      return true;
    case SpansOf::kSingleQueries:
      return !several;
    case SpansOf::kSeveralQueries:
      return several;
    case SpansOf::kNarrow:
      return narrow;
    case SpansOf::kSeveralButNotNarrow:
      return several && !narrow;
    case SpansOf::kNotNarrow:
      return !narrow;
  }
  return false;
}

// One call, as its kernels see it. Positions within a span fit 32 bits, as dropout's counters demand.
struct AttentionProblem {
  AttentionShape shape;
  const AttentionSpan* spans;  // in the device's memory
  OffsetBias bias;
  uint64_t site_key;
  uint32_t threshold;  // 0: no dropout
  float keep_scale;    // of what is kept: 1 / (1 - rate)
  int64_t span_count;
  int64_t query_rows;
  SpansOf spans_of = SpansOf::kAll;
};

// How many rows of a span are shared out in tiles.
struct SpanQueries {
  SpansOf which;
  RKIF_HOST_DEVICE int64_t operator()(const AttentionSpan& span) const {
    return takes(which, span) ? span.query_length : 0;
  }
};
// Keys in the store.
struct StoredKeys {
  SpansOf which;
  RKIF_HOST_DEVICE int64_t operator()(const AttentionSpan& span) const {
    return takes(which, span) && is_stored_prompt(span) ? span.prefix_length : 0;
  }
};
struct SpanKeys {
  SpansOf which;
  // Keys that nobody asks for have no gradient.
  RKIF_HOST_DEVICE int64_t operator()(const AttentionSpan& span) const {
    return takes(which, span) && span.query_length > 0 ? span.key_length : 0;
  }
};

struct TilePlace {
  AttentionSpan span;
  int index;  // of the tile in its span
};

// The number `tile` of the tiles of `size` rows that the spans make, one span after the other. length(span): its rows.
// For whole warps.
template <class Length>
__device__ inline TilePlace find_tile(const AttentionProblem& problem, int tile, int size, const Length& length) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t first = 0;; first += kWarp) {
    // Spans of the host that are not the device's: an error instead of a search without end.
    if (first >= problem.span_count) __trap();
    int mine = 0;
    if (first + lane < problem.span_count) {
      mine = static_cast<int>((length(problem.spans[first + lane]) + size - 1) / size);
    }
    int sum = mine;  // of this lane's and the lanes' before
    for (int offset = 1; offset < kWarp; offset *= 2) {
      const int other = __shfl_up_sync(kAllLanes, sum, offset);
      if (lane >= offset) sum += other;
    }
    const int all = __shfl_sync(kAllLanes, sum, kWarp - 1);
    if (tile < all) {
      const int found = __ffs(static_cast<int>(__ballot_sync(kAllLanes, sum > tile))) - 1;
      const int before = __shfl_sync(kAllLanes, sum - mine, found);
      return {problem.spans[first + found], tile - before};
    }
    tile -= all;
  }
}

// A span's queries and keys, counted from its first.
struct SpanView {
  int queries, keys;
  int first_position;  // of query 0
  int window;          // 0: all keys
  bool causal;

  __device__ SpanView(const AttentionShape& shape, const AttentionSpan& span)
      : queries(static_cast<int>(span.query_length)),
        keys(static_cast<int>(span.keys())),
        first_position(shape.causal ? keys - queries : 0),
        window(shape.window >= (int64_t{1} << 30) ? 0 : static_cast<int>(shape.window)),
        causal(shape.causal) {}

  // Keys that some query of [begin, end) sees lie in [first_key(begin), end_key(end)).
  __device__ int first_key(int begin) const {
    const int first = first_position + begin + 1 - window;
    return window == 0 || first < 0 ? 0 : first;
  }
  __device__ int end_key(int end) const { return causal ? first_position + end : keys; }
  // Queries that see some key of [begin, end) lie in [first_query(begin), end_query(end)).
  __device__ int first_query(int begin) const {
    const int first = begin - first_position;
    return !causal || first < 0 ? 0 : first;
  }
  __device__ int end_query(int end) const {
    const int64_t last = int64_t{end} - 1 + window - first_position;
    return window == 0 || last > queries ? queries : last < 0 ? 0 : static_cast<int>(last);
  }
};

// The scores of the queries from `query` on and the keys from `key` on.
struct ScoreTile {
  const SpanView& span;
  int query, key;

  __device__ int position(int q) const { return span.first_position + query + q; }
  // Whether query q of the tile sees key k of it.
  __device__ bool sees(int q, int k) const {
    const int at = key + k, from = position(q);
    return query + q < span.queries && at < span.keys && (!span.causal || at <= from) &&
           (span.window == 0 || at + span.window > from);
  }
  // Whether all of the first `queries` see all of the first `keys`.
  __device__ bool whole(int queries, int keys) const {
    return query + queries <= span.queries && key + keys <= span.keys &&
           (!span.causal || key + keys - 1 <= position(0)) &&
           (span.window == 0 || key + span.window > position(queries - 1));
  }
  // What stage_bias put where query q meets key k.
  template <int kQueries>
  __device__ static int bias_index(int q, int k) {
    return k - q + kQueries - 1;
  }
};

// The bias of a tile's scores by offset: queries + keys - 1 numbers; 0 for what is beyond the table, which no score
// needs, and where there is no table. For the whole block.
template <int kQueries, int kKeys>
__device__ inline void stage_bias(const OffsetBias& bias, int64_t head, const ScoreTile& tile, float* to) {
  const int64_t columns = 2 * bias.reach - 1, first = tile.key - tile.position(0) - (kQueries - 1) + bias.reach - 1;
  for (int i = static_cast<int>(threadIdx.x); i < kQueries + kKeys - 1; i += static_cast<int>(blockDim.x)) {
    const bool inside = bias.table != nullptr && first + i >= 0 && first + i < columns;
    to[i] = inside ? bias.table[head * columns + first + i] : 0.0f;
  }
}

// Where the bias's gradient is wanted, every block leaves its sums by offset here, to be added up in order:
// entries[(tile * heads + head) * width + i] belongs to the offset first_offsets[tile] + i.
struct OffsetSums {
  float* entries = nullptr;  // null: not wanted
  int64_t* first_offsets = nullptr;
  int32_t* counts = nullptr;
  int64_t width = 0;

  // This block's, whose first tile of keys is `tile`; `count` entries will be written.
  template <int kQueries>
  __device__ float* begin(const ScoreTile& tile, int count) const {
    if (entries == nullptr) return nullptr;
    if (blockIdx.y == 0 && threadIdx.x == 0) {
      first_offsets[blockIdx.x] = int64_t{tile.key} - tile.position(0) - (kQueries - 1);
      counts[blockIdx.x] = count;
    }
    return entries + (int64_t{blockIdx.x} * gridDim.y + blockIdx.y) * width;
  }
};

// Sums of a square tile along its diagonals, for one tile of keys after the other: the upper half of one tile's
// diagonals goes on in the lower half of the next one's. Thread d < kTile writes the sum that is then complete, and
// keeps the other.
template <int kTile>
__device__ inline void add_diagonals(const float* tile, int row, float& carry, float* complete) {
  const int d = static_cast<int>(threadIdx.x);
  if (d >= kTile) return;
  float low = carry, high = 0;
  for (int i = 0; i < kTile; ++i) {
    const int column = i + d - (kTile - 1);
    if (column >= 0) {
      low += tile[i * row + column];
    } else {
      high += tile[i * row + column + kTile];
    }
  }
  complete[d] = low;
  carry = high;
}

// A row's mask, or one that is not read.
__device__ inline DropoutRow mask_row(const AttentionProblem& problem, uint32_t record, int64_t head, int position) {
  if (problem.threshold == 0) return {};
  return attention_dropout_row(problem.shape, problem.site_key, record, head, position);
}

__device__ inline bool keeps(const AttentionProblem& problem, DropoutRow row, int key) {
  return problem.threshold == 0 || dropout_keeps(row, static_cast<uint32_t>(key), problem.threshold);
}

}  // namespace rkif::cuda
