// Gradient rows of outputs that a batch hardly activates (MIGU: Du et al., arXiv 2406.17245).
#pragma once
#include <cstdint>

namespace rkif {

struct RowMatrix {
  int64_t rows, columns;
};

// Zeros the rows of `values` [rows, columns] whose sum is below the quantile `at` of the rows' sums (select.h); all of
// them where that is NaN. rows >= 1, 0 <= at <= 1.
void mask_rows(int64_t rows, int64_t columns, float* values, const float* sums, double at);

}  // namespace rkif
