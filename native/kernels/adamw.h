// AdamW with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101; the order of operations of
// torch.optim.AdamW), with the gradient's clipping and the importance of the clipped gradient in the same pass.
#pragma once
#include <cstdint>

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
float clip_factor(double norm, double max_norm);

// g = gradient * gradient_scale; w -= lr * weight_decay * w; m, v; w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t)
// + eps). `importance` may be null.
void adamw_step(int64_t n, float* weights, const float* gradients, float* m, float* v, float gradient_scale,
                const AdamW& options, const ImportanceUpdate* importance);

}  // namespace rkif
