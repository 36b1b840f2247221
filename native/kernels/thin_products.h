// Products with a matrix of few rows along the long side, as thin as an adapter's rank. Tiles of matmul.h would leave
// most of a vector's lanes idle: here they run along the sums.
#pragma once
#include <cstdint>

namespace rkif {

// Rows of the thin matrix come in multiples of this; the last may be zeros.
inline constexpr int64_t kThinRows = 8;
inline int64_t padded_thin_rows(int64_t r) { return (r + kThinRows - 1) / kThinRows * kThinRows; }

// out[i * r + j] = sum over p < k of x[i * stride + p] * thin[j * k + p], i < rows, j < r, on the calling thread. thin:
// [padded_thin_rows(r), k]. A row's sums depend on nothing but the row.
void thin_products(int64_t rows, int64_t k, const float* x, int64_t stride, const float* thin, int64_t r, float* out);

}  // namespace rkif
