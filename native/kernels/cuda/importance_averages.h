// The averages of a few elements, for the kernels that update them.
#pragma once
#include "kernels/cuda/elementwise.h"
#include "kernels/importance.h"

namespace rkif::cuda {

template <int kWide>
struct Averages {
  Floats<kWide> importance;
  Floats<kWide> uncertainty;
  unsigned mask;
};

// `mask` may be null.
template <int kWide>
__device__ inline Averages<kWide> load_averages(const float* importance, const float* uncertainty, const uint8_t* mask,
                                                int64_t i) {
  return {load_floats<kWide>(importance + i), load_floats<kWide>(uncertainty + i),
          mask ? load_bytes<kWide>(mask + i) : 0xffffffffu};
}

// Elements whose mask is 0 keep their bits.
template <int kWide>
__device__ inline void update_averages(const Floats<kWide>& weights, const Floats<kWide>& gradients,
                                       const ImportanceDecay& decay, Averages<kWide> averages, float* importance,
                                       float* uncertainty, int64_t i) {
  RKIF_UNROLL
  for (int j = 0; j < kWide; ++j) {
    float new_importance = averages.importance.at[j];
    float new_uncertainty = averages.uncertainty.at[j];
    update_importance_element(weights.at[j], gradients.at[j], decay, new_importance, new_uncertainty);
    if (!byte_set(averages.mask, j)) continue;
    averages.importance.at[j] = new_importance;
    averages.uncertainty.at[j] = new_uncertainty;
  }
  store_floats<kWide>(importance + i, averages.importance);
  store_floats<kWide>(uncertainty + i, averages.uncertainty);
}

}  // namespace rkif::cuda
