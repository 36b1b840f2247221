#include <cmath>
#include <limits>

#include "kernels/attention_rows.h"
#include "kernels/exponential.h"
#include "kernels/fused.h"

namespace rkif {
namespace {

RKIF_INLINE void fill(float* x, int64_t from, int64_t to, float value) {
  for (int64_t j = from; j < to; j++) x[j] = value;
}

// The padding's scores are minus infinity, so that loops over whole vectors need no tail.
RKIF_INLINE void biased_scores(const ScoreRow& row, float* scores) {
  if (row.bias != nullptr) {
#pragma omp simd
    for (int64_t j = 0; j < row.visible; j++) scores[j] = scores[j] * row.scale + row.bias[j];
  } else if (row.scale != 1.0f) {
#pragma omp simd
    for (int64_t j = 0; j < row.visible; j++) scores[j] *= row.scale;
  }
  fill(scores, 0, row.first, -std::numeric_limits<float>::infinity());
  fill(scores, row.visible, row.padded, -std::numeric_limits<float>::infinity());
}

// Tells the compiler that there is no tail.
RKIF_INLINE int64_t whole_vectors(int64_t padded) { return padded & ~(kRowPadding - 1); }

RKIF_INLINE float kept(const ScoreRow& row, int64_t column) {
  return dropout_keeps(row.key, static_cast<uint32_t>(column), row.threshold) ? row.keep_scale : 0.0f;
}

RKIF_INLINE float dot_inlined(int64_t n, const float* a, const float* b) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; j++) sum += a[j] * b[j];
  return sum;
}

}  // namespace

RKIF_FUSED_CLONES float softmax_row(const ScoreRow& given, float* scores) {
  const ScoreRow row = given;  // a copy, which the stores to `scores` cannot alias
  const int64_t n = whole_vectors(row.padded);
  biased_scores(row, scores);
  float max = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : max)
  for (int64_t j = 0; j < n; j++) max = scores[j] > max ? scores[j] : max;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; j++) {
    scores[j] = exponential(scores[j] - max);
    sum += scores[j];
  }
  const float inverse = 1.0f / sum;
  if (row.threshold != 0) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) scores[j] *= inverse * kept(row, j);
  } else {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) scores[j] *= inverse;
  }
  return max + std::log(sum);
}

RKIF_FUSED_CLONES void softmax_backward_row(const ScoreRow& given, float log_sum_exp, float mean_grad, float* scores,
                                            float* grad, float* grad_bias) {
  const ScoreRow row = given;
  const int64_t n = whole_vectors(row.padded);
  biased_scores(row, scores);
  if (row.threshold != 0) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
      float probability = exponential(scores[j] - log_sum_exp);
      float keep = kept(row, j);
      scores[j] = probability * keep;
      grad[j] = probability * (grad[j] * keep - mean_grad);
    }
  } else {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
      scores[j] = exponential(scores[j] - log_sum_exp);
      grad[j] = scores[j] * (grad[j] - mean_grad);
    }
  }
  if (grad_bias != nullptr) {
#pragma omp simd
    for (int64_t j = 0; j < row.visible; j++) grad_bias[j] += grad[j];
  }
  if (row.scale != 1.0f) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) grad[j] *= row.scale;
  }
}

RKIF_FUSED_CLONES void dot_heads(int64_t heads, int64_t n, const float* a, const float* b, float* dots) {
  for (int64_t head = 0; head < heads; head++) dots[head] = dot_inlined(n, a + head * n, b + head * n);
}

RKIF_FUSED_CLONES void dot_rows(int64_t rows, int64_t n, const float* query, const float* keys, int64_t stride,
                                float* scores) {
  for (int64_t j = 0; j < rows; j++) scores[j] = dot_inlined(n, query, keys + j * stride);
}

}  // namespace rkif
