// Products of a layer's matrices head by head, for queries that are brought to the states that keys are made of, and
// mixtures of states that are brought back (models/absorbed_attention.h). BLAS knows no rows that go from one head to
// the next: it makes a matrix of every head's product, which is copied then. Sums do not depend on the threads.
#pragma once
#include <cstdint>

#include "kernels/bfloat16.h"

namespace rkif {

// W, [heads * size, width], and the B of a low-rank path beside it, [heads * size, rank]; all contiguous.
struct HeadWeights {
  int64_t heads;
  int64_t size;
  int64_t width;
  // One of the two. Where W is bf16 and the CPU multiplies bf16 (and the width is even), what W multiplies is rounded
  // to it; sums are fp32.
  const float* w = nullptr;
  const Bfloat16* narrow_w = nullptr;
  int64_t rank = 0;  // 0: no path
  const float* b = nullptr;
  float scale = 1;  // multiplies B
  // A row that is spread has so many columns for every head, in which what B gives begins at `column` (>= width).
  int64_t row = 0;
  int64_t column = 0;
};

// Of every row and head, x [size] -> [x W, 0 ..., scale * x B, 0 ...], [row]. x: [rows, heads * size], spread: [rows,
// heads * row].
void spread_heads(const HeadWeights& weights, int64_t rows, const float* x, float* spread);

// The transposed, and each one's gradient: of every row and head, [row] -> W x[0, width) + scale * B x[column, column +
// rank), [size].
void gather_heads(const HeadWeights& weights, int64_t rows, const float* spread, float* gathered);

// What stands behind B in every row: of row i and head h, [rank] at data[i * row + h * head].
struct HeadHidden {
  const float* data;
  int64_t row;
  int64_t head;
};

// grad_b [heads * size, rank] += scale * x^T h, head by head. x: [rows, heads * size].
void add_head_gradient(const HeadWeights& weights, int64_t rows, const float* x, const HeadHidden& h, float* grad_b);

}  // namespace rkif
