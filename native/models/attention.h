// The packed attention kernel as a differentiable operation.
#pragma once
#include <ATen/core/Tensor.h>

#include "kernels/attention.h"
#include "models/linear.h"
#include "models/packed.h"

namespace rkif {

// Bias by offset: table [heads, 2 * reach - 1] with the bias of (key position - query position) at offset + reach - 1.
// Undefined: none.
struct AttentionBias {
  at::Tensor table;
  int64_t reach = 0;
};

struct AttentionPlace {
  int64_t heads = 1;
  int64_t key_heads = 0;  // 0: as many as heads
  float scale = 1;
  bool causal = false;
  int64_t window = 0;     // 0: none
  bool narrow = false;    // AttentionShape::narrow
  int64_t row_heads = 1;  // AttentionShape::row_heads
  Spans spans;
  AttentionDropout dropout;
  // What the spans' prefixes refer to; needed only where one has a prefix, and then there are no gradients.
  at::Tensor prefix_keys, prefix_values;
};

// The place of queries that `queries` makes: attention rounds to bf16 where that layer's products do.
AttentionPlace attention_place(const Linear& queries, int64_t heads, const Spans& spans,
                               const AttentionDropout& dropout);

// q: [query rows, heads * head size], k, v: [key rows, key heads * head size] -> [query rows, heads * head size].
// Gradients to q, k, v and the bias table.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionBias& bias,
                  const AttentionPlace& place);

}  // namespace rkif
