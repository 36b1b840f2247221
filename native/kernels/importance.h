// Importance of weights: sensitivity |w * g| with moving averages of itself and of its uncertainty
// (Recurrent-KIF, arXiv 2502.17510, eq. 2-4; origin PLATON, arXiv 2206.12562):
//   I = |w * g|;  Ibar = a1 * Ibar + (1 - a1) * I;  Ubar = a2 * Ubar + (1 - a2) * |I - Ibar|  (with the new Ibar)
#pragma once
#include <cstdint>

#include "kernels/host_device.h"

namespace rkif {

// 1 - a is taken in double before it is rounded, as PyTorch does with Python's numbers: in fp32 it would be off by up
// to an ulp of a.
struct ImportanceDecay {
  ImportanceDecay() = default;
  ImportanceDecay(double a1, double a2)
      : importance(static_cast<float>(a1)),
        importance_rest(static_cast<float>(1.0 - a1)),
        uncertainty(static_cast<float>(a2)),
        uncertainty_rest(static_cast<float>(1.0 - a2)) {}

  float importance = 0;  // a1
  float importance_rest = 1;
  float uncertainty = 0;  // a2
  float uncertainty_rest = 1;
};

// Updates both averages in place. `mask`: one byte an element, 0 leaves both averages of the element as they are; may
// be null.
void update_importance(int64_t n, const float* weights, const float* gradients, const uint8_t* mask,
                       ImportanceDecay decay, float* importance, float* uncertainty);

// The arithmetic of one element, shared with the fused optimizer pass.
RKIF_HOST_DEVICE inline void update_importance_element(float weight, float gradient, ImportanceDecay decay,
                                                       float& importance, float& uncertainty) {
  float product = weight * gradient;
  float sensitivity = product < 0 ? -product : product;
  importance = decay.importance * importance + decay.importance_rest * sensitivity;
  float deviation = sensitivity - importance;
  deviation = deviation < 0 ? -deviation : deviation;
  uncertainty = decay.uncertainty * uncertainty + decay.uncertainty_rest * deviation;
}

}  // namespace rkif
