// Attention over packed tokens with a bias by relative offset and counter-based dropout on the probabilities. fp32 in
// and out.
// q: [query tokens, heads * head_size] row-major, k, v: [key tokens, key heads * head_size] likewise, with row strides
// in elements.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/dropout.h"

namespace rkif {

// Which rows of q attend to which rows of k and v. Several spans may share keys (options of one prompt); a query
// belongs to one span.
struct AttentionSpan {
  int64_t query_start;
  int64_t query_length;
  int64_t key_start;
  int64_t key_length;
  uint32_t record;  // for dropout
  // Rows of AttentionPrefix that stand before the span's own keys: what comes after a shared prompt. No gradients.
  int64_t prefix_start = 0;
  int64_t prefix_length = 0;

  RKIF_HOST_DEVICE int64_t keys() const { return prefix_length + key_length; }
};

struct AttentionShape {
  int64_t heads;
  int64_t head_size;
  int64_t query_stride;  // elements between rows of q (and of the output)
  int64_t key_stride;    // between rows of k
  int64_t value_stride;  // between rows of v
  float scale;           // multiplies q . k; T5: 1
  // Query i of a span stands at position keys() - query_length + i and sees the keys up to itself; not causal: at
  // position i, and sees all.
  bool causal;
  int64_t key_heads = 0;  // divides heads, which share keys and values in groups; 0: as many as heads
  int64_t window = 0;     // causal: how many of the last keys a query sees, its own included; 0: all
  // Where the CPU multiplies bf16, and on a GPU: operands of products are rounded to it (sums and the softmax stay
  // fp32), but for a span's only query and, on a GPU, for keys that are a prefix's and others. For models whose other
  // products are bf16.
  bool narrow = false;
  // Rows of one head (heads == 1) that are queries of so many heads that share keys: row i of a span is the query
  // i / row_heads in the head i % row_heads, which is what dropout goes by. Not causal, no window, no bias.
  int64_t row_heads = 1;

  RKIF_HOST_DEVICE int64_t group() const { return key_heads == 0 ? 1 : heads / key_heads; }
};

// Keys and values that spans refer to as their prefix; rows have the strides of k and v.
struct AttentionPrefix {
  const float* k = nullptr;
  const float* v = nullptr;
};

// Bias added to the scores: table[head * (2 * reach - 1) + (key position - query position) + reach - 1]. reach >= every
// span's key length and query position + 1. Null table: none.
struct OffsetBias {
  const float* table = nullptr;
  int64_t reach = 0;
};

// No dropout where rate is 0; rate < 1.
struct AttentionDropout {
  double rate = 0;
  uint64_t site_key = 0;
};

// Row key of the probabilities of (record, head, query position); columns are key positions.
RKIF_HOST_DEVICE inline DropoutRow attention_dropout_row(uint64_t site_key, uint32_t record, uint32_t head,
                                                         uint32_t query_position) {
  return dropout_row(site_key, record, (uint64_t{head} << 32) | query_position);
}

// The same of a span's row in `head` of the call, whose position is `row`.
RKIF_HOST_DEVICE inline DropoutRow attention_dropout_row(const AttentionShape& shape, uint64_t site_key,
                                                         uint32_t record, int64_t head, int64_t row) {
  if (shape.row_heads != 1) {
    head = row % shape.row_heads;
    row /= shape.row_heads;
  }
  return attention_dropout_row(site_key, record, static_cast<uint32_t>(head), static_cast<uint32_t>(row));
}

// Impossible spans (no keys, causal with more queries than keys, beyond the bias table, a prefix in the backward pass)
// throw std::invalid_argument.
// Results depend neither on the number of threads nor on the other spans of a call, but for the sums where spans share
// keys or the bias.
//
// out: [query tokens, heads * head_size], stride query_stride. log_sum_exp: [heads, query rows] where row r of q has
// entry head * query_rows + r; null where no backward pass follows.
void attention_forward(const AttentionShape& shape, const std::vector<AttentionSpan>& spans, const OffsetBias& bias,
                       const AttentionDropout& dropout, const float* q, const float* k, const float* v, float* out,
                       float* log_sum_exp, int64_t query_rows, const AttentionPrefix& prefix = {});

// Recomputes the probabilities from q, k and log_sum_exp. grad_q, grad_k, grad_v have the strides of q, k, v and are
// written: grad_k and grad_v in the rows that are keys of a span with queries, as sums where spans share keys; they may
// be one matrix where k and v are, which is then the sum of both. grad_bias: same form as the table, accumulated in an
// order that does not depend on threads; null where not wanted.
void attention_backward(const AttentionShape& shape, const std::vector<AttentionSpan>& spans, const OffsetBias& bias,
                        const AttentionDropout& dropout, const float* q, const float* k, const float* v,
                        const float* out, const float* log_sum_exp, int64_t query_rows, const float* grad_out,
                        float* grad_q, float* grad_k, float* grad_v, float* grad_bias);

}  // namespace rkif
