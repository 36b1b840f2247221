#include <ATen/Parallel.h>

#include <cmath>

#include "kernels/norms.h"
#include "kernels/row_grain.h"
#include "kernels/vectors.h"

namespace rkif {
namespace {

// Sums of a row run in these lanes and end with what is left of them: one order on every CPU.
struct Lanes {
  Vec16 first{}, second{};

  RKIF_INLINE float sum() const { return lanes_sum(first + second); }
};
constexpr int64_t kSpan = 32;

RKIF_INLINE float sum_of(const float* x, int64_t d) {
  Lanes lanes;
  int64_t j = 0;
  for (; j + kSpan <= d; j += kSpan) {
    Vec16 a, b;
    load(x + j, a);
    load(x + j + kSpan / 2, b);
    lanes.first += a;
    lanes.second += b;
  }
  float sum = lanes.sum();
  for (; j < d; ++j) sum += x[j];
  return sum;
}

// Of x - shift.
RKIF_INLINE float sum_of_squares(const float* x, float shift, int64_t d) {
  Lanes lanes;
  int64_t j = 0;
  for (; j + kSpan <= d; j += kSpan) {
    Vec16 a, b;
    load(x + j, a);
    load(x + j + kSpan / 2, b);
    a -= shift;
    b -= shift;
    lanes.first += a * a;
    lanes.second += b * b;
  }
  float sum = lanes.sum();
  for (; j < d; ++j) sum += (x[j] - shift) * (x[j] - shift);
  return sum;
}

// Of (x - shift) * g.
RKIF_INLINE float sum_of_products(const float* x, float shift, const float* g, int64_t d) {
  Lanes lanes;
  int64_t j = 0;
  for (; j + kSpan <= d; j += kSpan) {
    Vec16 a, b, with_a, with_b;
    load(x + j, a);
    load(x + j + kSpan / 2, b);
    load(g + j, with_a);
    load(g + j + kSpan / 2, with_b);
    a -= shift;
    b -= shift;
    lanes.first += a * with_a;
    lanes.second += b * with_b;
  }
  float sum = lanes.sum();
  for (; j < d; ++j) sum += (x[j] - shift) * g[j];
  return sum;
}

RKIF_CLONES float rms_row(int64_t d, const float* x, const float* w, float epsilon, float* out, Bfloat16* rounded) {
  const float scale = 1.0f / std::sqrt(sum_of_squares(x, 0, d) / static_cast<float>(d) + epsilon);
  if (rounded == nullptr) {
    RKIF_ELEMENTWISE
    for (int64_t j = 0; j < d; ++j) out[j] = w[j] * (x[j] * scale);
  } else if (out == nullptr) {
    RKIF_ELEMENTWISE
    for (int64_t j = 0; j < d; ++j) store(w[j] * (x[j] * scale), rounded[j]);
  } else {
    RKIF_ELEMENTWISE
    for (int64_t j = 0; j < d; ++j) {
      const float y = w[j] * (x[j] * scale);
      out[j] = y;
      store(y, rounded[j]);
    }
  }
  return scale;
}

// out = (the sum of kCount parts) * w; the sum as sum_parts() makes it.
template <int kCount, class T>
RKIF_INLINE void weighted(int64_t d, const Parts<T>& given, int64_t first, const float* w, float* out) {
  const T* parts[kCount];
  for (int k = 0; k < kCount; ++k) parts[k] = given.at[k] + first;
  RKIF_ELEMENTWISE
  for (int64_t j = 0; j < d; ++j) {
    float sum = widened(parts[0][j]);
    if constexpr (kCount > 1) sum += widened(parts[1][j]);
    if constexpr (kCount > 2) sum += widened(parts[2][j]);
    out[j] = sum * w[j];
  }
}

template <class T>
RKIF_INLINE void rms_gradient_row(int64_t d, const float* x, const float* w, float r, const Parts<T>& g, int64_t first,
                                  float* dx) {
  if (g.count == 1) {
    weighted<1>(d, g, first, w, dx);
  } else if (g.count == 2) {
    weighted<2>(d, g, first, w, dx);
  } else {
    weighted<3>(d, g, first, w, dx);
  }
  const float factor = r * r * r * (sum_of_products(x, 0, dx, d) / static_cast<float>(d));
  for (int64_t j = 0; j < d; ++j) dx[j] = r * dx[j] - x[j] * factor;
}
// Templates cannot be cloned; these are the rows that are.
RKIF_CLONES void rms_gradient_cloned(int64_t d, const float* x, const float* w, float r, const Parts<float>& g,
                                     int64_t first, float* dx) {
  rms_gradient_row(d, x, w, r, g, first, dx);
}
RKIF_CLONES void rms_gradient_cloned(int64_t d, const float* x, const float* w, float r, const Parts<Bfloat16>& g,
                                     int64_t first, float* dx) {
  rms_gradient_row(d, x, w, r, g, first, dx);
}

RKIF_CLONES Moments layer_norm_row(int64_t d, const float* x, const float* w, const float* b, float epsilon,
                                   float* out) {
  const float mean = sum_of(x, d) / static_cast<float>(d);
  // Of the differences: the mean of the squares less the square of the mean would cancel.
  const float r = 1.0f / std::sqrt(sum_of_squares(x, mean, d) / static_cast<float>(d) + epsilon);
  RKIF_ELEMENTWISE
  for (int64_t j = 0; j < d; ++j) out[j] = w[j] * ((x[j] - mean) * r) + b[j];
  return {mean, r};
}

RKIF_CLONES void layer_norm_gradient_row(int64_t d, const float* x, const float* w, const Moments& row, const float* g,
                                         float* dx) {
  weighted<1>(d, Parts<float>{1, {g}}, 0, w, dx);
  const float r = row.inverse, shift = sum_of(dx, d) / static_cast<float>(d);
  const float factor = r * (sum_of_products(x, row.mean, dx, d) / static_cast<float>(d));
  for (int64_t j = 0; j < d; ++j) dx[j] = r * (dx[j] - shift - (x[j] - row.mean) * r * factor);
}

// dweight += g * (x - mean) * r, for one row's columns.
RKIF_CLONES void add_weight_gradient(int64_t begin, int64_t end, const float* x, const Moments& row, const float* g,
                                     float* dweight) {
  for (int64_t j = begin; j < end; ++j) dweight[j] += g[j] * ((x[j] - row.mean) * row.inverse);
}

}  // namespace

void rms_norm(int64_t rows, int64_t d, const float* x, const float* w, float epsilon, float* out, Bfloat16* rounded,
              float* inverse) {
  at::parallel_for(0, rows, row_grain(d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float scale = rms_row(d, x + i * d, w, epsilon, out == nullptr ? nullptr : out + i * d,
                                  rounded == nullptr ? nullptr : rounded + i * d);
      if (inverse != nullptr) inverse[i] = scale;
    }
  });
}

template <class T>
void rms_norm_gradient(int64_t rows, int64_t d, const float* x, const float* w, const float* inverse, const Parts<T>& g,
                       float* dx) {
  at::parallel_for(0, rows, row_grain(d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) rms_gradient_cloned(d, x + i * d, w, inverse[i], g, i * d, dx + i * d);
  });
}

template void rms_norm_gradient(int64_t, int64_t, const float*, const float*, const float*, const Parts<float>&,
                                float*);
template void rms_norm_gradient(int64_t, int64_t, const float*, const float*, const float*, const Parts<Bfloat16>&,
                                float*);

void add_rms_norm_weight_gradient(int64_t rows, int64_t d, const float* x, const float* inverse, const float* g,
                                  float* dweight) {
  at::parallel_for(0, d, column_grain(rows), [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < rows; ++i) add_weight_gradient(begin, end, x + i * d, {0, inverse[i]}, g + i * d, dweight);
  });
}

void layer_norm(int64_t rows, int64_t d, const float* x, const float* w, const float* b, float epsilon, float* out,
                Moments* moments) {
  at::parallel_for(0, rows, row_grain(d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Moments row = layer_norm_row(d, x + i * d, w, b, epsilon, out + i * d);
      if (moments != nullptr) moments[i] = row;
    }
  });
}

void layer_norm_gradient(int64_t rows, int64_t d, const float* x, const float* w, const Moments* moments,
                         const float* g, float* dx) {
  at::parallel_for(0, rows, row_grain(d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      layer_norm_gradient_row(d, x + i * d, w, moments[i], g + i * d, dx + i * d);
    }
  });
}

void add_layer_norm_parameter_gradients(int64_t rows, int64_t d, const float* x, const Moments* moments, const float* g,
                                        float* dweight, float* dbias) {
  at::parallel_for(0, d, column_grain(rows), [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < rows; ++i) {
      add_weight_gradient(begin, end, x + i * d, moments[i], g + i * d, dweight);
      for (int64_t j = begin; j < end; ++j) dbias[j] += g[i * d + j];
    }
  });
}

}  // namespace rkif
