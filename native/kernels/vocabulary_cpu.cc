#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "kernels/matmul.h"
#include "kernels/vocabulary.h"
#include "kernels/workspace.h"

namespace rkif {
namespace {

// Tokens whose rows of W stay in the second-level cache while all of x passes by.
constexpr int64_t kTokenBlock = 64;

// target[j][i] = source[i][j] for i < rows, j < columns.
void transpose(int64_t rows, int64_t columns, const float* source, int64_t source_stride, float* target,
               int64_t target_stride) {
  constexpr int64_t kSquare = 16;
  for (int64_t i0 = 0; i0 < rows; i0 += kSquare) {
    const int64_t i1 = std::min(rows, i0 + kSquare);
    for (int64_t j = 0; j < columns; ++j) {
      float* to = target + j * target_stride;
      for (int64_t i = i0; i < i1; ++i) to[i] = source[i * source_stride + j];
    }
  }
}

}  // namespace

void vocabulary_logits(int64_t rows, int64_t vocabulary, int64_t width, const float* x, const float* w, float* logits) {
  // The tokens are the rows of this product, so that W is its left operand, which need not be laid out.
  thread_local Workspace shared;
  shared.reset(packed_floats(width, rows), 1);
  float* packed = shared.take(packed_floats(width, rows));
  pack_transposed(width, rows, x, width, packed);
  const RightOperand right = packed_operand(packed, width);
  const int64_t blocks = (vocabulary + kTokenBlock - 1) / kTokenBlock;
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    Workspace& own = Workspace::of_this_thread();
    own.reset(kTokenBlock * rows, 1);
    float* turned = own.take(kTokenBlock * rows);
    for (int64_t begin = first * kTokenBlock; begin < std::min(last * kTokenBlock, vocabulary); begin += kTokenBlock) {
      const int64_t tokens = std::min(kTokenBlock, vocabulary - begin);
      matmul(tokens, rows, width, {w + begin * width, width, 1}, right, turned, rows, false);
      transpose(tokens, rows, turned, rows, logits + begin, vocabulary);
    }
  });
}

void vocabulary_gradient(int64_t rows, int64_t vocabulary, int64_t width, const float* g, const float* w, float* dx) {
  // Every thread has some columns of W, of as many tokens at a time as stay in the second-level cache.
  constexpr int64_t kTokens = 128;
  const int64_t panels = (width + kPanelColumns - 1) / kPanelColumns;
  at::parallel_for(0, panels, 1, [&](int64_t first, int64_t last) {
    const int64_t begin = first * kPanelColumns, end = std::min(last * kPanelColumns, width);
    const int64_t columns = end - begin;
    Workspace& own = Workspace::of_this_thread();
    own.reset(packed_floats(kTokens, columns), 1);
    float* packed = own.take(packed_floats(kTokens, columns));
    for (int64_t token = 0; token < vocabulary; token += kTokens) {
      const int64_t tokens = std::min(kTokens, vocabulary - token);
      pack(tokens, columns, w + token * width + begin, width, packed);
      matmul(rows, columns, tokens, {g + token, vocabulary, 1}, packed_operand(packed, tokens), dx + begin, width,
             token > 0);
    }
  });
}

}  // namespace rkif
