// The steps of attention on one row of scores (one query of one head), fp32, vectorised. Rows are padded to a multiple
// of kRowPadding columns.
#pragma once
#include <cstdint>

#include "kernels/dropout.h"

namespace rkif {

inline constexpr int64_t kRowPadding = 16;
inline int64_t padded_row(int64_t columns) { return (columns + kRowPadding - 1) / kRowPadding * kRowPadding; }

// How one row's scores become probabilities.
struct ScoreRow {
  int64_t first;    // the query sees the columns from here
  int64_t visible;  // to here; the probability of the others is zero
  int64_t padded;   // columns of the buffers
  float scale;
  const float* bias;  // of column 0; null: none
  DropoutRow key;
  uint32_t threshold;  // 0: no dropout
  float keep_scale;    // 1 / (1 - rate)
};

// Scores (q . k) in, probabilities after dropout out. Returns the logarithm of the sum of exponentials.
float softmax_row(const ScoreRow& row, float* scores);

// In: scores (q . k), and grad = gradient of the probabilities after dropout (grad_out . v).
// Out: scores = probabilities after dropout; grad = gradient of q . k. `mean_grad` is grad_out . out, which equals the
// sum over the columns of probability times gradient. grad_bias: of column 0, the gradient of the biased scores is
// added; null: not wanted.
void softmax_backward_row(const ScoreRow& row, float log_sum_exp, float mean_grad, float* scores, float* grad,
                          float* grad_bias);

// dots[head] = a . b of n elements each, for heads that lie behind each other in both.
void dot_heads(int64_t heads, int64_t n, const float* a, const float* b, float* dots);

// scores[j] = query . keys[j * stride ...] for one query against many keys.
void dot_rows(int64_t rows, int64_t n, const float* query, const float* keys, int64_t stride, float* scores);

}  // namespace rkif
