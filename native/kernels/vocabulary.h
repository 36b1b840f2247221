// Products with a vocabulary's matrix for the rows that need logits, mostly few. The matrix is larger than any cache
// and is used once a pass: it is read where it lies, in its own order, while BLAS copies it first. Sums do not depend
// on the threads.
#pragma once
#include <cstdint>

#include "kernels/bfloat16.h"

namespace rkif {

// logits [rows, vocabulary] = x W^T. x: [rows, width], w: [vocabulary, width]; all contiguous fp32. `narrow`: where the
// CPU multiplies bf16, operands are rounded to it on the way; sums stay fp32.
void vocabulary_logits(int64_t rows, int64_t vocabulary, int64_t width, const float* x, const float* w, bool narrow,
                       float* logits);

// dx [rows, width] = g W. g: [rows, vocabulary].
void vocabulary_gradient(int64_t rows, int64_t vocabulary, int64_t width, const float* g, const float* w, bool narrow,
                         float* dx);

// Both of a matrix in bf16, of even width, where multiplies_bfloat16(): the same bits as of a `narrow` one whose
// rounded values it has (but for those below the least normal number), with half of what is read and nothing to round.
void vocabulary_logits(int64_t rows, int64_t vocabulary, int64_t width, const float* x, const Bfloat16* w,
                       float* logits);
void vocabulary_gradient(int64_t rows, int64_t vocabulary, int64_t width, const float* g, const Bfloat16* w, float* dx);

}  // namespace rkif
