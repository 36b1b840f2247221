#include <ATen/Parallel.h>

#include <algorithm>

#include "kernels/adamw.h"
#include "kernels/clones.h"

namespace rkif {
namespace {

RKIF_CLONES void scaled_copy(int64_t n, const float* in, float factor, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] = in[i] * factor;
}

RKIF_CLONES void step_range(int64_t n, float* __restrict weights, const float* __restrict gradients,
                            float* __restrict m, float* __restrict v, const AdamWCoefficients c) {
  for (int64_t i = 0; i < n; ++i) {
    float weight = weights[i], first = m[i], second = v[i];
    adamw_element(c, gradients[i], weight, first, second);
    m[i] = first;
    v[i] = second;
    weights[i] = weight;
  }
}

// A block of all seven arrays stays in the first-level cache, so that importance and step read memory once.
constexpr int64_t kBlock = 1024;

void update_block(int64_t n, int64_t at, const float* weights, const float* gradients, const ImportanceUpdate& update) {
  update_importance(n, weights + at, gradients, update.mask ? update.mask + at : nullptr, update.decay,
                    update.importance + at, update.uncertainty + at);
}

}  // namespace

void adamw_step(int64_t n, float* weights, const float* gradients, float* m, float* v, float gradient_scale,
                const AdamW& options, const ImportanceUpdate* importance) {
  check_update(options);
  const AdamWCoefficients c = adamw_coefficients(options, options.update);
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
