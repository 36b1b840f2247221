#include <ATen/Parallel.h>

#include <algorithm>

#include "kernels/clones.h"
#include "kernels/rotate.h"

namespace rkif {
namespace {

// Both halves are read before they are written: `out` may be `x`.
RKIF_CLONES void rotate_head(int64_t half, const float* x, const float* cosine, const float* sine, float sign,
                             float* out) {
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < half; i++) {
    float a = x[i], b = x[i + half], s = sign * sine[i];
    out[i] = a * cosine[i] - b * s;
    out[i + half] = b * cosine[i] + a * s;
  }
}

}  // namespace

void rotate_rows(int64_t rows, int64_t heads, int64_t head_size, const float* x, const int32_t* positions,
                 const float* cosine, const float* sine, bool inverse, float* out) {
  const int64_t half = head_size / 2, width = heads * head_size;
  const float sign = inverse ? -1.0f : 1.0f;
  at::parallel_for(0, rows, std::max<int64_t>(1, kParallelGrain / std::max<int64_t>(1, width)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t r = begin; r < end; r++) {
                       const float* c = cosine + positions[r] * half;
                       const float* s = sine + positions[r] * half;
                       for (int64_t h = 0; h < heads; h++) {
                         int64_t at = r * width + h * head_size;
                         rotate_head(half, x + at, c, s, sign, out + at);
                       }
                     }
                   });
}

}  // namespace rkif
