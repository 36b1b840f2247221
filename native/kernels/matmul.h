// Products of the small matrices of one attention head, fp32, on the calling thread. libtorch's BLAS is no match here:
// a call costs as much as a tiny model's whole product, and its sums depend on whether it runs threaded. Each element
// of a product is one sum in the order of k, whatever the shape and the machine's vector width, so results depend on
// nothing but the operands.
#pragma once
#include <cstdint>

namespace rkif {

// The right operand B [k, n] is packed into panels of this many columns, each stored as k contiguous rows; the last
// panel is filled up with zeros.
inline constexpr int64_t kPanelColumns = 32;

inline int64_t packed_floats(int64_t k, int64_t n) {
  return k * ((n + kPanelColumns - 1) / kPanelColumns * kPanelColumns);
}

// B[p][j] = source[p * stride + j].
void pack(int64_t k, int64_t n, const float* source, int64_t stride, float* packed);

// B[p][j] = source[j * stride + p].
void pack_transposed(int64_t k, int64_t n, const float* source, int64_t stride, float* packed);

// A[i][p] = data[i * row + p * column].
template <class Word>
struct Left {
  const Word* data;
  int64_t row;
  int64_t column;
};
using LeftOperand = Left<float>;

// B[p][j] = data[j / kPanelColumns * panel + p * row + j % kPanelColumns]. Whole vectors are read: an operand that is
// not packed needs a multiple of 16 columns.
template <class Word>
struct Right {
  const Word* data;
  int64_t row;
  int64_t panel;
};
using RightOperand = Right<float>;
// Rows from `first` on of what pack() or pack_transposed() wrote with this k.
template <class Word>
Right<Word> packed_operand(const Word* packed, int64_t k, int64_t first = 0) {
  return {packed + first * kPanelColumns, kPanelColumns, k * kPanelColumns};
}
inline RightOperand row_major_operand(const float* data, int64_t stride) { return {data, stride, kPanelColumns}; }

// C[i][j] = sum over p of A[i][p] * B[p][j], added to what C holds where `accumulate`, for i < m, j < n, p < k. n may
// include the columns of zeros.
void matmul(int64_t m, int64_t n, int64_t k, LeftOperand a, RightOperand b, float* c, int64_t c_stride,
            bool accumulate);

}  // namespace rkif
