#include "kernels/masked_rows.h"
#include "kernels/residual.h"

namespace rkif {
namespace {

template <bool kDrops, class T>
RKIF_INLINE void add_row(int64_t n, const float* residual, const T* x, const RowMask& given, float* out) {
  const RowMask mask = given;
  RKIF_ELEMENTWISE
  for (int64_t j = 0; j < n; ++j) {
    float value = widened(x[j]);
    out[j] = residual[j] + (kDrops ? mask.applied(value, j) : value);
  }
}

template <bool kDrops, class T>
RKIF_INLINE void gradient_row(int64_t n, const float* g, const RowMask& given, T* dx) {
  const RowMask mask = given;
  RKIF_ELEMENTWISE
  for (int64_t j = 0; j < n; ++j) store(kDrops ? mask.applied(g[j], j) : g[j], dx[j]);
}

// Templates cannot be cloned; these are the loops that are.
#define RKIF_RESIDUAL_ROWS(name, T, drops)                                                                     \
  RKIF_CLONES void add_##name(int64_t n, const float* residual, const T* x, const RowMask& mask, float* out) { \
    add_row<drops>(n, residual, x, mask, out);                                                                 \
  }                                                                                                            \
  RKIF_CLONES void gradient_##name(int64_t n, const float* g, const RowMask& mask, T* dx) {                    \
    gradient_row<drops>(n, g, mask, dx);                                                                       \
  }
RKIF_RESIDUAL_ROWS(float, float, false)
RKIF_RESIDUAL_ROWS(float_dropped, float, true)
RKIF_RESIDUAL_ROWS(bfloat16, Bfloat16, false)
RKIF_RESIDUAL_ROWS(bfloat16_dropped, Bfloat16, true)
#undef RKIF_RESIDUAL_ROWS

template <class T>
struct Rows;
template <>
struct Rows<float> {
  static constexpr auto add = add_float, add_dropped = add_float_dropped;
  static constexpr auto gradient = gradient_float, gradient_dropped = gradient_float_dropped;
};
template <>
struct Rows<Bfloat16> {
  static constexpr auto add = add_bfloat16, add_dropped = add_bfloat16_dropped;
  static constexpr auto gradient = gradient_bfloat16, gradient_dropped = gradient_bfloat16_dropped;
};

}  // namespace

template <class T>
void add_residual(const MaskedMatrix& shape, const float* residual, const T* x, float* out) {
  for_masked_rows(shape, 1, [&](int64_t at, const RowMask& mask, bool drops) {
    (drops ? Rows<T>::add_dropped : Rows<T>::add)(shape.columns, residual + at, x + at, mask, out + at);
  });
}

template <class T>
void residual_gradient(const MaskedMatrix& shape, const float* g, T* dx) {
  for_masked_rows(shape, 1, [&](int64_t at, const RowMask& mask, bool drops) {
    (drops ? Rows<T>::gradient_dropped : Rows<T>::gradient)(shape.columns, g + at, mask, dx + at);
  });
}

template void add_residual(const MaskedMatrix&, const float*, const float*, float*);
template void add_residual(const MaskedMatrix&, const float*, const Bfloat16*, float*);
template void residual_gradient(const MaskedMatrix&, const float*, float*);
template void residual_gradient(const MaskedMatrix&, const float*, Bfloat16*);

}  // namespace rkif
