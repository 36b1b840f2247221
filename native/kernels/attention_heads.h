// Attention of one span in one head, or in the heads that share keys. Only for attention_cpu.cc.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/attention_rows.h"
#include "kernels/operands.h"
#include "kernels/workspace.h"

namespace rkif {
namespace {

// Queries are taken in blocks, so that their scores stay in the cache however many keys there are.
constexpr int64_t kQueryBlock = 48;

// What a span's rows have in common in one head.
struct SpanHead {
  SpanHead(const AttentionShape& shape, const AttentionSpan& span, int64_t head, const OffsetBias& bias,
           const AttentionDropout& dropout)
      : shape(shape),
        span(span),
        head(head),
        first_position(shape.causal ? span.keys() - span.query_length : 0),
        query(span.query_start * shape.query_stride + head * shape.head_size),
        key(span.key_start * shape.key_stride + head / shape.group() * shape.head_size),
        value(span.key_start * shape.value_stride + head / shape.group() * shape.head_size),
        bias(bias.table == nullptr ? nullptr : bias.table + head * (2 * bias.reach - 1) + bias.reach - 1),
        site_key(dropout.site_key),
        threshold(dropout_threshold(dropout.rate)),
        keep_scale(static_cast<float>(1.0 / (1.0 - dropout.rate))) {}

  // Keys that the queries before `query_end` see.
  int64_t visible(int64_t query_end) const { return shape.causal ? first_position + query_end : span.keys(); }

  ScoreRow row(int64_t i, int64_t padded) const {
    int64_t position = first_position + i;
    int64_t first = shape.window == 0 ? 0 : std::max<int64_t>(0, position + 1 - shape.window);
    ScoreRow row{first, visible(i + 1), padded,    shape.scale, bias == nullptr ? nullptr : bias - position,
                 {},    threshold,      keep_scale};
    if (threshold != 0) row.key = attention_dropout_row(shape, site_key, span.record, head, position);
    return row;
  }

  const AttentionShape& shape;
  const AttentionSpan& span;
  const int64_t head;
  const int64_t first_position;
  const int64_t query, key, value;  // where the span's part of the head begins in q, k, v
  const float* const bias;          // of offset 0
  const uint64_t site_key;
  const uint32_t threshold;
  const float keep_scale;
};

struct ForwardPointers {
  const float *q, *k, *v;
  AttentionPrefix prefix;
  float* out;
  float* log_sum_exp;  // null: not wanted
  int64_t query_rows;
};

// Where a span's keys or values of one head lie: `first` rows of the prefix, then the span's own.
struct KeyRows {
  const float* prefix;
  int64_t first;
  const float* own;
  int64_t count;
  int64_t stride;
};

KeyRows key_rows(const AttentionSpan& span, const float* prefix, const float* own, int64_t stride, int64_t column) {
  if (span.key_length == 0) {
    // Rows that lie together, as own ones do: nothing to join.
    return {nullptr, 0, prefix + span.prefix_start * stride + column, span.prefix_length, stride};
  }
  return {span.prefix_length == 0 ? nullptr : prefix + span.prefix_start * stride + column, span.prefix_length,
          own + span.key_start * stride + column, span.keys(), stride};
}

// All rows behind each other: as they lie where there is no prefix, copied to `scratch` otherwise.
KeyRows joined(const KeyRows& rows, int64_t size, float* scratch) {
  if (rows.first == 0) return rows;
  for (int64_t i = 0; i < rows.count; i++) {
    const float* from = i < rows.first ? rows.prefix + i * rows.stride : rows.own + (i - rows.first) * rows.stride;
    std::copy(from, from + size, scratch + i * size);
  }
  return {nullptr, 0, scratch, rows.count, size};
}

// Heads from which on their queries are laid out for a product with the keys.
constexpr int64_t kLaidOutHeads = 4;

// The scores of `heads` queries that lie behind each other, all of one position, with keys that they share.
class SharedScores {
 public:
  SharedScores(int64_t heads, int64_t size, const float* q, Workspace& workspace)
      : heads_(heads), size_(size), q_(q), columns_(padded_row(heads)) {
    if (!lays_out(heads)) return;
    packed_ = workspace.take(packed_floats(size, heads));
    block_ = workspace.take(kQueryBlock * columns_);
    pack_transposed(size, heads, q, size, packed_);
  }
  static int64_t room(int64_t heads, int64_t size) {
    return lays_out(heads) ? packed_floats(size, heads) + kQueryBlock * padded_row(heads) : 0;
  }

  // scores[i * padded + j] = q_i . keys[j * stride ...].
  void operator()(int64_t rows, const float* keys, int64_t stride, float* scores, int64_t padded) const {
    if (packed_ == nullptr) {
      for (int64_t i = 0; i < heads_; i++) dot_rows(rows, size_, q_ + i * size_, keys, stride, scores + i * padded);
      return;
    }
    for (int64_t begin = 0; begin < rows; begin += kQueryBlock) {
      const int64_t count = std::min(kQueryBlock, rows - begin);
      matmul(count, columns_, size_, {keys + begin * stride, stride, 1}, packed_operand(packed_, size_), block_,
             columns_, false);
      for (int64_t i = 0; i < heads_; i++) {
        for (int64_t j = 0; j < count; j++) scores[i * padded + begin + j] = block_[j * columns_ + i];
      }
    }
  }

 private:
  static bool lays_out(int64_t heads) { return heads >= kLaidOutHeads; }

  int64_t heads_, size_;
  const float* q_;
  int64_t columns_;
  float* packed_ = nullptr;
  float* block_ = nullptr;
};

// A span's only query, in all heads that share the head `key_head`, against a cache of keys (generation). Values are
// packed only where that pays, for several heads, or has to be.
void forward_one_query(const AttentionShape& shape, const AttentionSpan& span, int64_t key_head, const OffsetBias& bias,
                       const AttentionDropout& dropout, const KeyRows& k, const KeyRows& v, const ForwardPointers& at) {
  const int64_t group = shape.group(), first = key_head * group;
  const int64_t size = shape.head_size, keys = k.count, own = keys - k.first, padded = padded_row(keys);
  const int64_t joined_floats = v.first == 0 ? 0 : keys * size;
  const bool packs = size % kRowPadding != 0 || group >= kLaidOutHeads;
  Workspace& workspace = Workspace::of_this_thread();
  workspace.reset(
      group * padded + SharedScores::room(group, size) + (packs ? packed_floats(keys, size) + joined_floats : 0), 5);
  float* scores = workspace.take(group * padded);
  // The group's heads lie behind each other.
  const SpanHead one(shape, span, first, bias, dropout);
  const SharedScores take_scores(group, size, at.q + one.query, workspace);
  take_scores(k.first, k.prefix, k.stride, scores, padded);
  take_scores(own, k.own, k.stride, scores + k.first, padded);
  for (int64_t i = 0; i < group; i++) {
    const SpanHead part(shape, span, first + i, bias, dropout);
    const float lse = softmax_row(part.row(0, padded), scores + i * padded);
    if (at.log_sum_exp != nullptr) at.log_sum_exp[part.head * at.query_rows + span.query_start] = lse;
  }
  float* out = at.out + one.query;
  if (packs) {
    float* packed = workspace.take(packed_floats(keys, size));
    KeyRows rows = joined(v, size, workspace.take(joined_floats));
    pack(keys, size, rows.own, rows.stride, packed);
    matmul(group, size, keys, {scores, padded, 1}, packed_operand(packed, keys), out, size, false);
    return;
  }
  if (v.first > 0) {
    matmul(group, size, v.first, {scores, padded, 1}, row_major_operand(v.prefix, v.stride), out, size, false);
  }
  matmul(group, size, own, {scores + v.first, padded, 1}, row_major_operand(v.own, v.stride), out, size, v.first > 0);
}

// One span and all heads of queries that share the head `key_head` of keys and values.
template <class Operands>
void forward_heads(const AttentionShape& shape, const AttentionSpan& span, int64_t key_head, const OffsetBias& bias,
                   const AttentionDropout& dropout, const ForwardPointers& at) {
  using Word = typename Operands::Word;
  const int64_t size = shape.head_size, stride = shape.query_stride, group = shape.group();
  const KeyRows k = key_rows(span, at.prefix.k, at.k, shape.key_stride, key_head * size);
  const KeyRows v = key_rows(span, at.prefix.v, at.v, shape.value_stride, key_head * size);
  if (span.query_length == 1) {
    forward_one_query(shape, span, key_head, bias, dropout, k, v, at);
    return;
  }
  const int64_t queries = span.query_length, keys = k.count, block = std::min(queries, kQueryBlock);
  const int64_t k_words = packed_floats(Operands::depth(size), keys),
                v_words = packed_floats(Operands::depth(keys), size);
  const int64_t room_words = std::max(
      {Operands::left_words(keys, size), Operands::left_words(block, size), Operands::left_words(block, keys)});
  const int64_t joined_floats = k.first == 0 ? 0 : keys * size;
  Workspace& workspace = Workspace::of_this_thread();
  workspace.reset(k_words + v_words + room_words + block * padded_row(keys) + joined_floats, 5);
  Word* k_transposed = workspace.take<Word>(k_words);
  Word* v_packed = workspace.take<Word>(v_words);
  Word* room = workspace.take<Word>(room_words);
  float* scores = workspace.take(block * padded_row(keys));
  float* scratch = workspace.take(joined_floats);
  KeyRows rows = joined(k, size, scratch);
  Operands::pack_transposed(size, keys, rows.own, rows.stride, k_transposed, room);
  rows = joined(v, size, scratch);
  Operands::pack(keys, size, rows.own, rows.stride, v_packed);
  const auto k_operand = packed_operand<Word>(k_transposed, Operands::depth(size));
  const auto v_operand = packed_operand<Word>(v_packed, Operands::depth(keys));
  for (int64_t head = key_head * group; head < (key_head + 1) * group; head++) {
    const SpanHead part(shape, span, head, bias, dropout);
    const float* q = at.q + part.query;
    float* out = at.out + part.query;
    float* log_sum_exp = at.log_sum_exp == nullptr ? nullptr : at.log_sum_exp + head * at.query_rows + span.query_start;
    for (int64_t begin = 0; begin < queries; begin += kQueryBlock) {
      const int64_t end = std::min(begin + kQueryBlock, queries), count = end - begin;
      const int64_t visible = part.visible(end), padded = padded_row(visible);
      Operands::product(count, padded, size, Operands::left(count, size, q + begin * stride, stride, room), k_operand,
                        scores, padded, false);
      for (int64_t i = 0; i < count; i++) {
        float lse = softmax_row(part.row(begin + i, padded), scores + i * padded);
        if (log_sum_exp != nullptr) log_sum_exp[begin + i] = lse;
      }
      Operands::product(count, size, visible, Operands::left(count, visible, scores, padded, room), v_operand,
                        out + begin * stride, stride, false);
    }
  }
}

struct BackwardPointers {
  const float *q, *k, *v, *log_sum_exp, *grad_out;
  const float* mean_grad;  // of query i: [i * heads]
  float *grad_q, *grad_k, *grad_v;
  float* grad_bias;  // of offset 0; null: not wanted
  bool adds;         // grad_k and grad_v hold sums already
};

// C += A B in the rows that hold sums, the first `held`, and C = A B in the others: memory need not be cleared.
template <class Operands>
void add_to_held(int64_t held, int64_t m, int64_t n, int64_t k, Left<typename Operands::Word> a,
                 Right<typename Operands::Word> b, float* c, int64_t c_stride) {
  held = std::min(held, m);
  if (held > 0) Operands::product(held, n, k, a, b, c, c_stride, true);
  if (held == m) return;
  a.data += held * a.row;
  Operands::product(m - held, n, k, a, b, c + held * c_stride, c_stride, false);
}

template <class Operands>
void backward_head(const SpanHead& part, const BackwardPointers& at) {
  using Word = typename Operands::Word;
  const AttentionShape& shape = part.shape;
  const int64_t size = shape.head_size, stride = shape.query_stride;
  const int64_t queries = part.span.query_length, keys = part.span.key_length, block = std::min(queries, kQueryBlock);
  const int64_t by_size = packed_floats(Operands::depth(size), keys),
                by_keys = packed_floats(Operands::depth(keys), size),
                by_queries = packed_floats(Operands::depth(queries), size);
  const int64_t room_words = std::max({Operands::left_words(keys, size), Operands::left_words(block, size),
                                       Operands::left_words(block, keys), Operands::left_words(keys, block)});
  Workspace& workspace = Workspace::of_this_thread();
  workspace.reset(2 * by_size + by_keys + 2 * by_queries + room_words + 2 * block * padded_row(keys), 8);
  Word* k_transposed = workspace.take<Word>(by_size);
  Word* v_transposed = workspace.take<Word>(by_size);
  Word* k_packed = workspace.take<Word>(by_keys);
  Word* q_packed = workspace.take<Word>(by_queries);
  Word* grad_out_packed = workspace.take<Word>(by_queries);
  Word* room = workspace.take<Word>(room_words);
  float* scores = workspace.take(block * padded_row(keys));
  float* grad = workspace.take(block * padded_row(keys));
  Operands::pack_transposed(size, keys, at.k, shape.key_stride, k_transposed, room);
  // Absorbed keys and values (models/absorbed_attention.h) are the same states.
  if (at.v == at.k && shape.value_stride == shape.key_stride) {
    v_transposed = k_transposed;
  } else {
    Operands::pack_transposed(size, keys, at.v, shape.value_stride, v_transposed, room);
  }
  Operands::pack(keys, size, at.k, shape.key_stride, k_packed);
  Operands::pack(queries, size, at.q, stride, q_packed);
  Operands::pack(queries, size, at.grad_out, stride, grad_out_packed);
  const int64_t size_depth = Operands::depth(size), queries_depth = Operands::depth(queries);
  int64_t held = at.adds ? keys : 0;
  for (int64_t begin = 0; begin < queries; begin += kQueryBlock) {
    const int64_t end = std::min(begin + kQueryBlock, queries), rows = end - begin;
    const int64_t visible = part.visible(end), padded = padded_row(visible);
    const float* grad_out = at.grad_out + begin * stride;
    Operands::product(rows, padded, size, Operands::left(rows, size, at.q + begin * stride, stride, room),
                      packed_operand<Word>(k_transposed, size_depth), scores, padded, false);
    Operands::product(rows, padded, size, Operands::left(rows, size, grad_out, stride, room),
                      packed_operand<Word>(v_transposed, size_depth), grad, padded, false);
    for (int64_t i = 0; i < rows; i++) {
      const int64_t query = begin + i;
      float* grad_bias = at.grad_bias == nullptr ? nullptr : at.grad_bias - (part.first_position + query);
      softmax_backward_row(part.row(query, padded), at.log_sum_exp[query], at.mean_grad[query * shape.heads],
                           scores + i * padded, grad + i * padded, grad_bias);
    }
    // Blocks begin at even queries: with a word.
    const int64_t first = Operands::depth(begin);
    add_to_held<Operands>(held, visible, size, rows, Operands::left_transposed(visible, rows, scores, padded, room),
                          packed_operand<Word>(grad_out_packed, queries_depth, first), at.grad_v, shape.value_stride);
    Operands::product(rows, size, visible, Operands::left(rows, visible, grad, padded, room),
                      packed_operand<Word>(k_packed, Operands::depth(keys)), at.grad_q + begin * stride, stride, false);
    // Where k and v are one, so is their gradient, which holds the values' part by now.
    add_to_held<Operands>(at.grad_k == at.grad_v ? visible : held, visible, size, rows,
                          Operands::left_transposed(visible, rows, grad, padded, room),
                          packed_operand<Word>(q_packed, queries_depth, first), at.grad_k, shape.key_stride);
    held = std::max(held, visible);
  }
}

}  // namespace
}  // namespace rkif
