#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "kernels/adamw.h"
#include "kernels/clones.h"

namespace rkif {
namespace {

// What torch computes in double from the options and then rounds where it meets fp32 tensors.
struct Coefficients {
  float keep_weight;       // 1 - lr * weight_decay
  float beta1_complement;  // 1 - b1
  float beta2;
  float beta2_complement;  // 1 - b2
  float root_correction;   // sqrt(1 - b2^t)
  float epsilon;
  float step;  // -lr / (1 - b1^t)
};

Coefficients coefficients(const AdamW& options) {
  if (options.update < 1) {
    throw std::invalid_argument("adamw_step: update is " + std::to_string(options.update) +
                                "; updates are counted from 1");
  }
  const double t = static_cast<double>(options.update);
  const double correction1 = 1 - std::pow(options.beta1, t);
  const double correction2 = 1 - std::pow(options.beta2, t);
  return {
      .keep_weight = static_cast<float>(1 - options.learning_rate * options.weight_decay),
      .beta1_complement = static_cast<float>(1 - options.beta1),
      .beta2 = static_cast<float>(options.beta2),
      .beta2_complement = static_cast<float>(1 - options.beta2),
      .root_correction = static_cast<float>(std::sqrt(correction2)),
      .epsilon = static_cast<float>(options.epsilon),
      .step = static_cast<float>(-options.learning_rate / correction1),
  };
}

RKIF_CLONES void scaled_copy(int64_t n, const float* in, float factor, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] = in[i] * factor;
}

RKIF_CLONES void step_range(int64_t n, float* __restrict weights, const float* __restrict gradients,
                            float* __restrict m, float* __restrict v, const Coefficients c) {
  for (int64_t i = 0; i < n; ++i) {
    const float gradient = gradients[i];
    const float first = m[i] + c.beta1_complement * (gradient - m[i]);
    const float second = c.beta2 * v[i] + c.beta2_complement * gradient * gradient;
    const float denominator = std::sqrt(second) / c.root_correction + c.epsilon;
    m[i] = first;
    v[i] = second;
    weights[i] = c.keep_weight * weights[i] + c.step * first / denominator;
  }
}

// A block of all seven arrays stays in the first-level cache, so that importance and step read memory once.
constexpr int64_t kBlock = 1024;

void update_block(int64_t n, int64_t at, const float* weights, const float* gradients, const ImportanceUpdate& update) {
  update_importance(n, weights + at, gradients, update.mask ? update.mask + at : nullptr, update.decay,
                    update.importance + at, update.uncertainty + at);
}

}  // namespace

float clip_factor(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return static_cast<float>(factor > 1 ? 1 : factor);
}

void adamw_step(int64_t n, float* weights, const float* gradients, float* m, float* v, float gradient_scale,
                const AdamW& options, const ImportanceUpdate* importance) {
  const Coefficients c = coefficients(options);
  at::parallel_for(0, n, kParallelGrain, [&](int64_t begin, int64_t end) {
    float clipped[kBlock];
    for (int64_t at = begin; at < end; at += kBlock) {
      const int64_t count = std::min(kBlock, end - at);
      scaled_copy(count, gradients + at, gradient_scale, clipped);
      if (importance && !importance->after) update_block(count, at, weights, clipped, *importance);
      step_range(count, weights + at, clipped, m + at, v + at, c);
      if (importance && importance->after) update_block(count, at, weights, clipped, *importance);
    }
  });
}

}  // namespace rkif
