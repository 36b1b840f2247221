// Products with a vocabulary's matrix for the rows that need logits, mostly few. The matrix is larger than any cache
// and is used once a pass: it is read where it lies, in its own order, while BLAS copies it first. Sums do not depend
// on the threads.
#pragma once
#include <cstdint>

#include "kernels/bfloat16.h"

namespace rkif {

// logits [rows, vocabulary] = x W^T. x: [rows, width], w: [vocabulary, width]; all contiguous fp32.
void vocabulary_logits(int64_t rows, int64_t vocabulary, int64_t width, const float* x, const float* w, float* logits);

// Of every row of x, which token is to come, and what becomes of it.
struct CrossEntropy {
  int64_t rows;
  int64_t vocabulary;
  int64_t width;
  const float* x;            // [rows, width]
  const int32_t* labels;     // [rows], tokens
  float scale = 1;           // of the gradient
  float* log_p = nullptr;    // [rows]: log softmax(x W^T)[label]
  float* grad_x = nullptr;   // [rows, width]: scale * (softmax(x W^T) W - W[label])
  float* scratch = nullptr;  // scratch_floats()

  int64_t scratch_floats() const;
};

// W is read once, and no logits are kept: the softmax's numerators multiply W while it is in the cache, by a maximum
// that is scaled away where a greater one comes (the online softmax of Milakov and Gimelshein, arXiv 1805.02867).
// w: [vocabulary, width], contiguous. `narrow`: where the CPU multiplies bf16, operands of products are rounded to it
// on the way; sums, exponentials and logarithms stay fp32.
void vocabulary_cross_entropy(const CrossEntropy& of, const float* w, bool narrow);

// Of a matrix in bf16, of even width, where multiplies_bfloat16(): the same bits as of a `narrow` one whose rounded
// values it has (but for those below the least normal number), with half of what is read and nothing to round.
void vocabulary_cross_entropy(const CrossEntropy& of, const Bfloat16* w);

}  // namespace rkif
