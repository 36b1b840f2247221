// Passes over the rows of a matrix that apply dropout on the way.
#pragma once
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

#include "kernels/clones.h"
#include "kernels/dropout.h"
#include "kernels/row_mask.h"

namespace rkif {

// row(first element, mask, whether it drops anything) for every row, shared out among threads. `weight`: how many of a
// simple pass's elements one element is worth.
template <class Row>
void for_masked_rows(const MaskedMatrix& matrix, int64_t weight, const Row& row) {
  const DropoutMask mask(matrix.rate);
  const int64_t grain = std::max<int64_t>(1, kParallelGrain / (weight * std::max<int64_t>(1, matrix.columns)));
  at::parallel_for(0, matrix.rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const DropoutRow key = mask.drops() ? matrix.keys[i] : DropoutRow{};
      row(i * matrix.columns, RowMask{key, mask.threshold, mask.keep_scale}, mask.drops());
    }
  });
}

}  // namespace rkif
