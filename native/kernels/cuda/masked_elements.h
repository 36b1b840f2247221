// What the elementwise passes over a matrix with a mask for each row share.
#pragma once
#include <cstdint>

#include "kernels/cuda/row_share.h"
#include "kernels/row_mask.h"

namespace rkif::cuda {

// A MaskedMatrix as the device's threads see it.
struct Masks {
  int64_t columns;
  DropoutKeys keys;
  uint32_t threshold;
  float keep_scale;

  // Throws std::invalid_argument unless 0 <= rate < 1.
  explicit Masks(const MaskedMatrix& shape) : columns(shape.columns), keys(shape.keys) {
    const DropoutMask mask(shape.rate);
    threshold = mask.threshold;
    keep_scale = mask.keep_scale;
  }
  __device__ bool drops() const { return threshold != 0; }
  __device__ RowMask row(int64_t i) const { return {keys[i], threshold, keep_scale}; }
  // The mask of the row whose key this lane of the warp holds; for whole warps.
  __device__ RowMask dealt(const DropoutRow& key, int lane) const {
    return {{__shfl_sync(kAllLanes, key.a, lane), __shfl_sync(kAllLanes, key.b, lane)}, threshold, keep_scale};
  }

  // What dropout leaves of kCount elements of one row, the first of which is the matrix's element `first`.
  template <int kCount>
  __device__ void apply(int64_t first, float (&values)[kCount]) const {
    if (!drops()) return;
    const int64_t i = first / columns, column = first - i * columns;
    const RowMask mask = row(i);
    RKIF_UNROLL
    for (int j = 0; j < kCount; ++j) values[j] = mask.applied(values[j], column + j);
  }
};

// Blocks for a multiprocessor, several times as many as it holds at once: how many that is depends on the body, and the
// last ones to end are to be few.
inline constexpr int kElementBlocks = 32;

// body.template at<kWidth>(first element) for all elements, kWidth at once, which lie in one row.
template <int kWidth, class Body>
__global__ void __launch_bounds__(256) for_elements(int64_t packs, Body body) {
  for (int64_t i = grid_index(); i < packs; i += grid_size()) body.template at<kWidth>(i * kWidth);
}

// Elements one by one where rows or `pointers`, those that the body reads and writes, do not allow kWidth at once.
template <int kWidth, class Body, class... T>
void launch_elements(const Context& context, const char* name, const MaskedMatrix& shape, const Body& body,
                     const T*... pointers) {
  const int64_t n = shape.rows * shape.columns;
  if (n == 0) return;
  if (shape.columns % kWidth == 0 && allow_wide(kWidth, pointers...)) {
    launch(context, name, grid_for(context, n / kWidth, 256, kElementBlocks), 256, 0, for_elements<kWidth, Body>,
           n / kWidth, body);
  } else {
    launch(context, name, grid_for(context, n, 256, kElementBlocks), 256, 0, for_elements<1, Body>, n, body);
  }
}

}  // namespace rkif::cuda
