#include <ATen/Parallel.h>

#include <cmath>

#include "kernels/norms.h"
#include "kernels/row_grain.h"
#include "kernels/vectors.h"

namespace rkif {
namespace {

// What a row's sums are made of: add(j, lanes) adds the terms of a vector's columns, at(j) is one.
struct Values {
  const float* x;

  RKIF_INLINE void add(int64_t j, Vec16& lanes) const {
    Vec16 a;
    load(x + j, a);
    lanes += a;
  }
  RKIF_INLINE float at(int64_t j) const { return x[j]; }
};

// (x - shift)^2.
struct Squares {
  const float* x;
  float shift;

  RKIF_INLINE void add(int64_t j, Vec16& lanes) const {
    Vec16 a;
    load(x + j, a);
    a -= shift;
    lanes += a * a;
  }
  RKIF_INLINE float at(int64_t j) const { return (x[j] - shift) * (x[j] - shift); }
};

// (x - shift) * g.
struct Products {
  const float* x;
  float shift;
  const float* g;

  RKIF_INLINE void add(int64_t j, Vec16& lanes) const {
    Vec16 a, with;
    load(x + j, a);
    load(g + j, with);
    a -= shift;
    lanes += a * with;
  }
  RKIF_INLINE float at(int64_t j) const { return (x[j] - shift) * g[j]; }
};

// In the lanes of two vectors, and behind them what fills none: one order on every CPU.
template <class Terms>
RKIF_INLINE float row_sum(int64_t d, const Terms& terms) {
  constexpr int64_t kLanes = 16;
  Vec16 first{}, second{};
  int64_t j = 0;
  for (; j + 2 * kLanes <= d; j += 2 * kLanes) {
    terms.add(j, first);
    terms.add(j + kLanes, second);
  }
  float sum = lanes_sum(first + second);
  for (; j < d; ++j) sum += terms.at(j);
  return sum;
}

RKIF_CLONES float rms_row(int64_t d, const float* x, const float* w, float epsilon, float* out, Bfloat16* rounded) {
  const float scale = 1.0f / std::sqrt(row_sum(d, Squares{x, 0}) / static_cast<float>(d) + epsilon);
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

// out = (the sum of kCount parts) * w.
template <int kCount, class T>
RKIF_INLINE void weighted(int64_t d, const Parts<T>& given, int64_t first, const float* w, float* out) {
  const T* parts[kCount];
  for (int k = 0; k < kCount; ++k) parts[k] = given.at[k] + first;
  RKIF_ELEMENTWISE
  for (int64_t j = 0; j < d; ++j) {
    out[j] = part_sum(parts, j) * w[j];
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
  const float factor = r * r * r * (row_sum(d, Products{x, 0, dx}) / static_cast<float>(d));
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
  const float mean = row_sum(d, Values{x}) / static_cast<float>(d);
  // Of the differences: the mean of the squares less the square of the mean would cancel.
  const float r = 1.0f / std::sqrt(row_sum(d, Squares{x, mean}) / static_cast<float>(d) + epsilon);
  RKIF_ELEMENTWISE
  for (int64_t j = 0; j < d; ++j) out[j] = w[j] * ((x[j] - mean) * r) + b[j];
  return {mean, r};
}

RKIF_CLONES void layer_norm_gradient_row(int64_t d, const float* x, const float* w, const Moments& row, const float* g,
                                         float* dx) {
  weighted<1>(d, Parts<float>{1, {g}}, 0, w, dx);
  const float r = row.inverse, shift = row_sum(d, Values{dx}) / static_cast<float>(d);
  const float factor = r * (row_sum(d, Products{x, row.mean, dx}) / static_cast<float>(d));
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
