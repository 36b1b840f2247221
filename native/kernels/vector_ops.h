// Elementwise algebra on flat fp32 vectors, and their norm. All multi-threaded; results do not depend on the number of
// threads.
#pragma once
#include <cstdint>

namespace rkif {

// out = a - b. `out` may alias either.
void difference(int64_t n, const float* a, const float* b, float* out);
// x += scale * y.
void add_scaled(int64_t n, float* x, const float* y, float scale);
// x += scale * a * b, scale * a rounded first (the gradient of a quadratic penalty). `x` may alias either.
void add_product(int64_t n, float* x, const float* a, const float* b, float scale);
void scale(int64_t n, float* x, float factor);
// out = a * b (the score from importance and uncertainty).
void product(int64_t n, const float* a, const float* b, float* out);

struct Norm {
  double norm = 0;         // sqrt of the sum of squares of the finite elements, accumulated in double
  int64_t non_finite = 0;  // NaN or infinite elements
};
Norm norm(int64_t n, const float* x);

}  // namespace rkif
