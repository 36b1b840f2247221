#include <ATen/Parallel.h>

#include "kernels/clones.h"
#include "kernels/importance.h"

namespace rkif {
namespace {

RKIF_CLONES void update_range(int64_t n, const float* weights, const float* gradients, ImportanceDecay decay,
                              float* importance, float* uncertainty) {
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < n; ++i) {
    float new_importance = importance[i];
    float new_uncertainty = uncertainty[i];
    update_importance_element(weights[i], gradients[i], decay, new_importance, new_uncertainty);
    importance[i] = new_importance;
    uncertainty[i] = new_uncertainty;
  }
}

// Computes every element and stores the old value where the mask is 0: a blend vectorises, a branch does not.
RKIF_CLONES void update_masked_range(int64_t n, const float* weights, const float* gradients, const uint8_t* mask,
                                     ImportanceDecay decay, float* importance, float* uncertainty) {
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < n; ++i) {
    const float old_importance = importance[i];
    const float old_uncertainty = uncertainty[i];
    float new_importance = old_importance;
    float new_uncertainty = old_uncertainty;
    update_importance_element(weights[i], gradients[i], decay, new_importance, new_uncertainty);
    importance[i] = mask[i] ? new_importance : old_importance;
    uncertainty[i] = mask[i] ? new_uncertainty : old_uncertainty;
  }
}

}  // namespace

void update_importance(int64_t n, const float* weights, const float* gradients, const uint8_t* mask,
                       ImportanceDecay decay, float* importance, float* uncertainty) {
  at::parallel_for(0, n, kParallelGrain, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    if (mask) {
      update_masked_range(count, weights + begin, gradients + begin, mask + begin, decay, importance + begin,
                          uncertainty + begin);
    } else {
      update_range(count, weights + begin, gradients + begin, decay, importance + begin, uncertainty + begin);
    }
  });
}

}  // namespace rkif
