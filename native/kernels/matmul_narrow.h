// Products of small matrices, as matmul.h's, whose operands are rounded to bf16 and whose sums are fp32: twice as fast
// where the CPU multiplies bf16 (AVX512_BF16). A word holds two neighbours in k, the first in its low half; where k is
// odd, the last is zero. Each element of a product is one sum in the order of k, whatever the shape.
#pragma once
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/matmul.h"

namespace rkif {

using Pair = uint32_t;

inline int64_t pairs_of(int64_t k) { return (k + 1) / 2; }

// Whether this CPU has what the functions below need; they may be called only then.
bool multiplies_bfloat16();

// A[i][p] = source[i * stride + p] for i < m, p < k: pairs[i * pairs_of(k) + p / 2].
void narrow_rows(int64_t m, int64_t k, const float* source, int64_t stride, Pair* pairs);

// A[i][p] = source[p * stride + i] for i < m, p < k: pairs[p / 2 * m + i].
void narrow_columns(int64_t m, int64_t k, const float* source, int64_t stride, Pair* pairs);

// Right operands in matmul.h's panels, of pairs_of(k) rows: B[p][j] = source[p * stride + j], j < n, ...
void pack_narrow(int64_t k, int64_t n, const float* source, int64_t stride, Pair* packed);

// ... the same of values that are bf16 already, ...
void pack_narrow(int64_t k, int64_t n, const Bfloat16* source, int64_t stride, Pair* packed);

// ... and B[p][j] = pairs[j * row + p / 2], of what narrow_rows() wrote.
void pack_pairs_transposed(int64_t pairs_of_k, int64_t n, const Pair* pairs, int64_t row, Pair* packed);

// As matmul(), in words: `pairs_of_k` of each sum.
void matmul_narrow(int64_t m, int64_t n, int64_t pairs_of_k, Left<Pair> a, Right<Pair> b, float* c, int64_t c_stride,
                   bool accumulate);

}  // namespace rkif
