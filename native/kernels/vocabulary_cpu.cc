#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "kernels/operands.h"
#include "kernels/vocabulary.h"
#include "kernels/workspace.h"

namespace rkif {
namespace {

// Tokens whose rows of W stay in the second-level cache while all of x passes by.
constexpr int64_t kTokenBlock = 64;

// W as the products take it: rounded on the way or not, ...
template <class Given>
struct FloatMatrix {
  using Operands = Given;
  using Word = typename Operands::Word;
  const float* w;
  int64_t width;

  static int64_t left_words(int64_t tokens, int64_t width) { return Operands::left_words(tokens, width); }
  // Its rows from `token` on.
  Left<Word> left(int64_t token, int64_t tokens, Word* room) const {
    return Operands::left(tokens, width, w + token * width, width, room);
  }
  // Some columns of these rows.
  void pack(int64_t token, int64_t tokens, int64_t column, int64_t columns, Word* packed) const {
    Operands::pack(tokens, columns, w + token * width + column, width, packed);
  }
};

// ... or rounded before: its rows are words already.
struct NarrowMatrix {
  using Operands = NarrowOperands;
  using Word = Pair;
  const Bfloat16* w;
  int64_t width;

  static int64_t left_words(int64_t, int64_t) { return 0; }
  Left<Word> left(int64_t token, int64_t, Word*) const {
    return {reinterpret_cast<const Word*>(w + token * width), width / 2, 1};
  }
  void pack(int64_t token, int64_t tokens, int64_t column, int64_t columns, Word* packed) const {
    pack_narrow(tokens, columns, w + token * width + column, width, packed);
  }
};

template <class Matrix>
void logits_of(int64_t rows, int64_t vocabulary, const Matrix& w, const float* x, float* logits) {
  using Operands = typename Matrix::Operands;
  using Word = typename Matrix::Word;
  const int64_t width = w.width;
  const int64_t depth = Operands::depth(width);
  // The tokens are the rows of this product, so that W is its left operand, which need not be laid out.
  thread_local Workspace shared;
  const int64_t rows_words = Operands::left_words(rows, width), room_words = Matrix::left_words(kTokenBlock, width);
  shared.reset(packed_floats(depth, rows) + rows_words, 2);
  Word* packed = shared.take<Word>(packed_floats(depth, rows));
  Operands::pack_transposed(width, rows, x, width, packed, shared.take<Word>(rows_words));
  const auto right = packed_operand<Word>(packed, depth);
  // With the operand's columns of zeros, so that it is turned in whole vectors.
  const int64_t stride = (rows + 15) / 16 * 16;
  const int64_t blocks = (vocabulary + kTokenBlock - 1) / kTokenBlock;
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    Workspace& own = Workspace::of_this_thread();
    own.reset(2 * kTokenBlock * stride + room_words, 3);
    float* by_token = own.take(kTokenBlock * stride);
    float* by_row = own.take(kTokenBlock * stride);
    Word* room = own.take<Word>(room_words);
    for (int64_t begin = first * kTokenBlock; begin < std::min(last * kTokenBlock, vocabulary); begin += kTokenBlock) {
      const int64_t tokens = std::min(kTokenBlock, vocabulary - begin);
      Operands::product(tokens, stride, width, w.left(begin, tokens, room), right, by_token, stride, false);
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

template <class Matrix>
void gradient_of(int64_t rows, int64_t vocabulary, const Matrix& w, const float* g, float* dx) {
  using Operands = typename Matrix::Operands;
  using Word = typename Matrix::Word;
  const int64_t width = w.width;
  // Every thread has some columns of W, of as many tokens at a time as stay in the second-level cache.
  constexpr int64_t kTokens = 128;
  const int64_t depth = Operands::depth(kTokens), room_words = Operands::left_words(rows, kTokens);
  const int64_t panels = (width + kPanelColumns - 1) / kPanelColumns;
  at::parallel_for(0, panels, 1, [&](int64_t first, int64_t last) {
    const int64_t begin = first * kPanelColumns, end = std::min(last * kPanelColumns, width);
    const int64_t columns = end - begin;
    Workspace& own = Workspace::of_this_thread();
    own.reset(packed_floats(depth, columns) + room_words, 2);
    Word* packed = own.take<Word>(packed_floats(depth, columns));
    Word* room = own.take<Word>(room_words);
    for (int64_t token = 0; token < vocabulary; token += kTokens) {
      const int64_t tokens = std::min(kTokens, vocabulary - token);
      w.pack(token, tokens, begin, columns, packed);
      Operands::product(rows, columns, tokens, Operands::left(rows, tokens, g + token, vocabulary, room),
                        packed_operand<Word>(packed, Operands::depth(tokens)), dx + begin, width, token > 0);
    }
  });
}

}  // namespace

void vocabulary_logits(int64_t rows, int64_t vocabulary, int64_t width, const float* x, const float* w, bool narrow,
                       float* logits) {
  if (narrow && multiplies_bfloat16()) {
    logits_of(rows, vocabulary, FloatMatrix<NarrowOperands>{w, width}, x, logits);
  } else {
    logits_of(rows, vocabulary, FloatMatrix<WideOperands>{w, width}, x, logits);
  }
}

void vocabulary_gradient(int64_t rows, int64_t vocabulary, int64_t width, const float* g, const float* w, bool narrow,
                         float* dx) {
  if (narrow && multiplies_bfloat16()) {
    gradient_of(rows, vocabulary, FloatMatrix<NarrowOperands>{w, width}, g, dx);
  } else {
    gradient_of(rows, vocabulary, FloatMatrix<WideOperands>{w, width}, g, dx);
  }
}

void vocabulary_logits(int64_t rows, int64_t vocabulary, int64_t width, const float* x, const Bfloat16* w,
                       float* logits) {
  logits_of(rows, vocabulary, NarrowMatrix{w, width}, x, logits);
}

void vocabulary_gradient(int64_t rows, int64_t vocabulary, int64_t width, const float* g, const Bfloat16* w,
                         float* dx) {
  gradient_of(rows, vocabulary, NarrowMatrix{w, width}, g, dx);
}

}  // namespace rkif
