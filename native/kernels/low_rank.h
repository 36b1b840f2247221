// The low-rank path of an adapted linear layer: products whose one side is as thin as the adapter's rank, for which
// BLAS spends more on laying out the operands than on multiplying. Every row is read from memory once.
#pragma once
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/dropout.h"

namespace rkif {

// scale * B (A d), d = dropout(x). a: [r, in], b: [out, r], contiguous fp32.
struct LowRank {
  int64_t in;
  int64_t out;
  int64_t r;
  const float* a;
  const float* b;
  float scale;
  DropoutKeys keys = {};  // of the rows
  double rate = 0;        // 0: no dropout, no keys
};

// y [rows, out] += scale * (dropout(x) A^T) B^T. hidden [rows, r] = dropout(x) A^T; null: not wanted. x: [rows, in];
// all contiguous. Where there is a `base` [rows, out], y = base + ... instead: the layer's own product, as bf16 weights
// leave it.
void low_rank_forward(int64_t rows, const LowRank& layer, const float* x, float* y, float* hidden,
                      const Bfloat16* base = nullptr);

// Where the gradients of the path are added; null: not wanted. `a` and `b` come together.
struct LowRankGradients {
  float* x = nullptr;  // [rows, in]
  float* a = nullptr;  // [r, in]
  float* b = nullptr;  // [out, r]
};

// With dh = scale * dy B: a += dh^T dropout(x), b += scale * dy^T hidden, x += dropout(dh A). dy: [rows, out]; x and
// hidden, as forward had and made them, are read only for `a` and `b`. Sums over rows do not depend on the threads.
void low_rank_backward(int64_t rows, const LowRank& layer, const float* x, const float* hidden, const float* dy,
                       const LowRankGradients& into);

}  // namespace rkif
