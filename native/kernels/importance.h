// Importance of weights: sensitivity |w * g| with moving averages of itself and of its uncertainty
// (Recurrent-KIF, arXiv 2502.17510, eq. 2-4; origin PLATON, arXiv 2206.12562):
//   I = |w * g|;  Ibar = a1 * Ibar + (1 - a1) * I;  Ubar = a2 * Ubar + (1 - a2) * |I - Ibar|  (with the new Ibar)
#pragma once
#include <cstdint>

namespace rkif {

struct ImportanceDecay {
  float importance;   // a1
  float uncertainty;  // a2
};

// Updates both averages in place. `mask`: one byte an element, 0 leaves both averages of the element as they are; may be null.
void update_importance(int64_t n, const float* weights, const float* gradients, const uint8_t* mask, ImportanceDecay decay,
                       float* importance, float* uncertainty);

// The arithmetic of one element, shared with the fused optimizer pass.
inline void update_importance_element(float weight, float gradient, ImportanceDecay decay, float& importance,
                                      float& uncertainty) {
  float product = weight * gradient;
  float sensitivity = product < 0 ? -product : product;
  importance = decay.importance * importance + (1.0f - decay.importance) * sensitivity;
  float deviation = sensitivity - importance;
  deviation = deviation < 0 ? -deviation : deviation;
  uncertainty = decay.uncertainty * uncertainty + (1.0f - decay.uncertainty) * deviation;
}

}  // namespace rkif
