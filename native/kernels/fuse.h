// Fusion of the inner and outer task vectors (Recurrent-KIF, arXiv 2502.17510, section 3.3).
#pragma once
#include <array>
#include <cstdint>

namespace rkif {

struct WeightPair {
  float in;
  float out;
};

// Indexed by mask_in + 2 * mask_out: neither, only in, only out, both.
using FusionTable = std::array<WeightPair, 4>;
using FusionCounts = std::array<int64_t, 4>;

// parameters = start + (w_in * tau_in + w_out * tau_out), with the pair that the two mask bits choose. `parameters` may
// alias `start`.
FusionCounts fuse(int64_t n, const float* start, const float* tau_in, const float* tau_out, const uint8_t* mask_in,
                  const uint8_t* mask_out, const FusionTable& table, float* parameters);

// Adaptive form, without masks: n = (score - min) / (max - min) over the whole vector, for in and out each;
// w_in = exp(n_in / t) / (exp(n_in / t) + exp(n_out / t)), w_out likewise. weight_in / weight_out: written where not
// null. Returns false, and leaves parameters = start, where a score is NaN or infinite or all scores of one side are
// equal.
bool fuse_adaptive(int64_t n, const float* start, const float* tau_in, const float* tau_out, const float* score_in,
                   const float* score_out, float temperature, float* parameters, float* weight_in, float* weight_out);

}  // namespace rkif
