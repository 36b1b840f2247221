#include <algorithm>

#include "kernels/mask_rows.h"
#include "kernels/select.h"

namespace rkif {

void mask_rows(int64_t rows, int64_t columns, float* values, const float* sums, double at) {
  const float threshold = quantile(rows, sums, at);
  for (int64_t row = 0; row < rows; ++row) {
    if (!(sums[row] >= threshold)) std::fill_n(values + row * columns, columns, 0.0f);
  }
}

}  // namespace rkif
