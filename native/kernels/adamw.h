// AdamW with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101; the order of operations of
// torch.optim.AdamW), with the gradient's clipping and the importance of the clipped gradient in the same pass.
#pragma once
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/clones.h"
#include "kernels/importance.h"

namespace rkif {

struct AdamW {
  double learning_rate;
  double beta1;
  double beta2;
  double epsilon;
  double weight_decay;
  int64_t update;  // 1-based, for the bias corrections
};

struct ImportanceUpdate {
  float* importance = nullptr;
  float* uncertainty = nullptr;
  const uint8_t* mask = nullptr;
  ImportanceDecay decay{};
  bool after = false;  // read the weight after the update (published code) instead of before it (paper)
};

// Factor that torch.nn.utils.clip_grad_norm_ applies: min(1, max_norm / (norm + 1e-6)).
RKIF_HOST_DEVICE inline float clip_factor(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return static_cast<float>(factor > 1 ? 1 : factor);
}

// g = gradient * gradient_scale; w -= lr * weight_decay * w; m, v; w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t)
// + eps). `importance` may be null.
void adamw_step(int64_t n, float* weights, const float* gradients, float* m, float* v, float gradient_scale,
                const AdamW& options, const ImportanceUpdate* importance);

// What torch computes in double from the options and then rounds where it meets fp32 tensors.
struct AdamWCoefficients {
  float keep_weight;       // 1 - lr * weight_decay
  float beta1_complement;  // 1 - b1
  float beta2;
  float beta2_complement;  // 1 - b2
  float root_correction;   // sqrt(1 - b2^t)
  float epsilon;
  float step;  // -lr / (1 - b1^t)
};

inline void check_update(const AdamW& options) {
  if (options.update < 1) {
    throw std::invalid_argument("adamw_step: update is " + std::to_string(options.update) +
                                "; updates are counted from 1");
  }
}

// base^n by squaring: the same bits on every device, which pow() does not promise.
RKIF_HOST_DEVICE inline double power(double base, int64_t n) {
  double result = 1;
  for (; n > 0; n /= 2) {
    if (n % 2 == 1) result *= base;
    base *= base;
  }
  return result;
}

// Those of update `number`, from 1.
RKIF_HOST_DEVICE inline AdamWCoefficients adamw_coefficients(const AdamW& options, int64_t number) {
  const double correction1 = 1 - power(options.beta1, number);
  const double correction2 = 1 - power(options.beta2, number);
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

// The step of one element, given its clipped gradient.
RKIF_INLINE void adamw_element(const AdamWCoefficients& c, float gradient, float& weight, float& m, float& v) {
  const float first = m + c.beta1_complement * (gradient - m);
  const float second = c.beta2 * v + c.beta2_complement * gradient * gradient;
  const float denominator = std::sqrt(second) / c.root_correction + c.epsilon;
  m = first;
  v = second;
  weight = c.keep_weight * weight + c.step * first / denominator;
}

}  // namespace rkif
