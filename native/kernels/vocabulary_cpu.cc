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

}  // namespace

void vocabulary_logits(int64_t rows, int64_t vocabulary, int64_t width, const float* x, const float* w, float* logits) {
  // The tokens are the rows of this product, so that W is its left operand, which need not be laid out.
  thread_local Workspace shared;
  shared.reset(packed_floats(width, rows), 1);
  float* packed = shared.take(packed_floats(width, rows));
  pack_transposed(width, rows, x, width, packed);
  const auto right = packed_operand<float>(packed, width);
  // With the operand's columns of zeros, so that it is turned in whole vectors.
  const int64_t stride = (rows + 15) / 16 * 16;
  const int64_t blocks = (vocabulary + kTokenBlock - 1) / kTokenBlock;
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    Workspace& own = Workspace::of_this_thread();
    own.reset(2 * kTokenBlock * stride, 2);
    float* by_token = own.take(kTokenBlock * stride);
    float* by_row = own.take(kTokenBlock * stride);
    for (int64_t begin = first * kTokenBlock; begin < std::min(last * kTokenBlock, vocabulary); begin += kTokenBlock) {
      const int64_t tokens = std::min(kTokenBlock, vocabulary - begin);
      matmul(tokens, stride, width, {w + begin * width, width, 1}, right, by_token, stride, false);
      pack_transposed(stride, tokens, by_token, stride, by_row);
      for (int64_t j = 0; j < tokens; j += kPanelColumns) {
        const int64_t count = std::min(kPanelColumns, tokens - j);
        for (int64_t i = 0; i < rows; i++) {
          std::memcpy(logits + i * vocabulary + begin + j, by_row + j * stride + i * kPanelColumns,
                      count * sizeof(float));
        }
      }
    }
  });
}

}  // namespace rkif
