#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "kernels/clones.h"
#include "kernels/dropout.h"

namespace rkif {
namespace {

RKIF_CLONES void dropout_row_cloned(int64_t columns, const float* in, DropoutRow key, uint32_t threshold,
                                    float keep_scale, float* out) {
  RKIF_ELEMENTWISE
  for (int64_t j = 0; j < columns; j++) {
    out[j] = dropout_keeps(key, static_cast<uint32_t>(j), threshold) ? in[j] * keep_scale : 0.0f;
  }
}

RKIF_CLONES void add_dropout_row_cloned(int64_t columns, const float* in, DropoutRow key, uint32_t threshold,
                                        float keep_scale, float* out) {
  RKIF_ELEMENTWISE
  for (int64_t j = 0; j < columns; j++) {
    out[j] += dropout_keeps(key, static_cast<uint32_t>(j), threshold) ? in[j] * keep_scale : 0.0f;
  }
}

}  // namespace

void drop_row(int64_t columns, const float* in, DropoutRow key, const DropoutMask& mask, float* out) {
  dropout_row_cloned(columns, in, key, mask.threshold, mask.keep_scale, out);
}

void add_dropped_row(int64_t columns, const float* in, DropoutRow key, const DropoutMask& mask, float* out) {
  add_dropout_row_cloned(columns, in, key, mask.threshold, mask.keep_scale, out);
}

void dropout_rows(const MaskedMatrix& shape, const float* in, float* out) {
  const DropoutMask mask(shape.rate);
  const int64_t columns = shape.columns;
  if (!mask.drops()) {
    if (out != in) std::memcpy(out, in, shape.rows * columns * sizeof(float));
    return;
  }
  const int64_t rows_a_thread = std::max<int64_t>(1, kParallelGrain / std::max<int64_t>(1, columns));
  at::parallel_for(0, shape.rows, rows_a_thread, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      drop_row(columns, in + i * columns, shape.keys[i], mask, out + i * columns);
    }
  });
}

}  // namespace rkif
