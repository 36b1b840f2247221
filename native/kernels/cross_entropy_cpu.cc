#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/exponential.h"
#include "kernels/operands.h"
#include "kernels/vocabulary.h"
#include "kernels/workspace.h"
// After them: it switches contraction on for the rest of the file.
#include "kernels/fused.h"

namespace rkif {
namespace {

// Rows that pass by W together, and tokens whose rows of W stay in the second-level cache while they do.
constexpr int64_t kRowBlock = 128;
constexpr int64_t kTokenBlock = 128;
// The vocabulary is computed in parts, at most so many, of at least so many tokens, each with sums of its own: threads
// take parts, and sums do not depend on which.
constexpr int64_t kMostParts = 32;
constexpr int64_t kLeastTokens = 512;

struct VocabularyParts {
  int64_t tokens;  // of each but the last
  int64_t count;
};

VocabularyParts parts_in(int64_t vocabulary) {
  const int64_t least = std::max(kLeastTokens, (vocabulary + kMostParts - 1) / kMostParts);
  const int64_t tokens = (least + kTokenBlock - 1) / kTokenBlock * kTokenBlock;
  return {tokens, (vocabulary + tokens - 1) / tokens};
}

int64_t padded(int64_t rows) { return (rows + 15) / 16 * 16; }

// W as the products take it: fp32, rounded on the way or not, ...
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
  void pack(int64_t token, int64_t tokens, Word* packed) const {
    Operands::pack(tokens, width, w + token * width, width, packed);
  }
  void row(int64_t token, float* to) const {
    std::copy_n(w + token * width, width, to);
    if (std::is_same_v<Operands, WideOperands>) return;
    for (int64_t i = 0; i < width; i++) {
      Bfloat16 rounded;
      store(to[i], rounded);
      to[i] = widened(rounded);
    }
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
  void pack(int64_t token, int64_t tokens, Word* packed) const {
    pack_narrow(tokens, width, w + token * width, width, packed);
  }
  void row(int64_t token, float* to) const {
    std::transform(w + token * width, w + (token + 1) * width, to, [](Bfloat16 value) { return widened(value); });
  }
};

// The softmax's sums of one part of the vocabulary, by row: what its numerators are relative to, their sum, and how
// they weigh the rows of W.
struct PartSums {
  float* max;    // [padded rows]
  float* sum;    // [padded rows]
  float* mixed;  // [rows, width]
};

// Of `tokens` more, scores [tokens, padded rows]: numerators in their place, by the maximum that is the greatest now.
// factor: by which it changes what was relative to the last. fresh: room for the sums of these tokens alone.
RKIF_FUSED_CLONES void numerators(int64_t tokens, int64_t given_rows, float* scores, float* max, float* sum,
                                  float* factor, float* fresh) {
  const int64_t rows = given_rows & ~int64_t{15};  // tells the compiler that there is no tail
  for (int64_t i = 0; i < rows; i++) factor[i] = max[i];
  for (int64_t t = 0; t < tokens; t++) {
    const float* of = scores + t * rows;
#pragma omp simd
    for (int64_t i = 0; i < rows; i++) max[i] = of[i] > max[i] ? of[i] : max[i];
  }
#pragma omp simd
  for (int64_t i = 0; i < rows; i++) factor[i] = exponential(factor[i] - max[i]);
  for (int64_t i = 0; i < rows; i++) fresh[i] = 0;
  for (int64_t t = 0; t < tokens; t++) {
    float* of = scores + t * rows;
#pragma omp simd
    for (int64_t i = 0; i < rows; i++) {
      of[i] = exponential(of[i] - max[i]);
      fresh[i] += of[i];
    }
  }
#pragma omp simd
  for (int64_t i = 0; i < rows; i++) sum[i] = sum[i] * factor[i] + fresh[i];
}

RKIF_FUSED_CLONES void scale_row(int64_t n, float factor, float* x) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) x[i] *= factor;
}

RKIF_FUSED_CLONES void add_row(int64_t n, float factor, const float* x, float* to) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) to[i] += factor * x[i];
}

// The tokens from `begin` to `end`. `x`: the transposed rows, laid out. score: of every row whose label is one of them.
template <class Matrix>
void compute_part(const Matrix& w, const CrossEntropy& of, Right<typename Matrix::Word> x, int64_t begin, int64_t end,
                  const PartSums& into, float* score) {
  using Operands = typename Matrix::Operands;
  using Word = typename Matrix::Word;
  const int64_t rows = of.rows, width = of.width, stride = padded(rows);
  const int64_t packed_words = packed_floats(Operands::depth(kTokenBlock), width);
  const int64_t room_words = std::max(Matrix::left_words(kTokenBlock, width), Operands::left_words(rows, kTokenBlock));
  Workspace& own = Workspace::of_this_thread();
  own.reset(kTokenBlock * stride + 2 * stride + packed_words + room_words, 5);
  float* scores = own.take(kTokenBlock * stride);
  float* factor = own.take(stride);
  float* fresh = own.take(stride);
  Word* packed = own.take<Word>(packed_words);
  Word* room = own.take<Word>(room_words);
  std::fill_n(into.max, stride, -std::numeric_limits<float>::infinity());
  std::fill_n(into.sum, stride, 0.0f);
  for (int64_t token = begin; token < end; token += kTokenBlock) {
    const int64_t tokens = std::min(kTokenBlock, end - token);
    const bool first = token == begin;
    // The tokens are the rows of this product, so that W is its left operand, which need not be laid out.
    Operands::product(tokens, stride, width, w.left(token, tokens, room), x, scores, stride, false);
    for (int64_t i = 0; i < rows; i++) {
      const int64_t label = of.labels[i] - token;
      if (label >= 0 && label < tokens) score[i] = scores[label * stride + i];
    }
    numerators(tokens, stride, scores, into.max, into.sum, factor, fresh);
    for (int64_t i = 0; i < rows && !first; i++) {
      if (factor[i] != 1.0f) scale_row(width, factor[i], into.mixed + i * width);
    }
    w.pack(token, tokens, packed);
    Operands::product(rows, width, tokens, Operands::left_transposed(rows, tokens, scores, stride, room),
                      packed_operand<Word>(packed, Operands::depth(tokens)), into.mixed, width, !first);
  }
}

// Of one row: the parts' sums become one.
template <class Matrix>
void join_parts(const Matrix& w, const CrossEntropy& of, const std::vector<PartSums>& parts, int64_t row, float score,
                float* label_row) {
  float max = -std::numeric_limits<float>::infinity();
  for (const PartSums& part : parts) max = std::max(max, part.max[row]);
  double sum = 0;
  for (const PartSums& part : parts) sum += part.sum[row] * std::exp(double{part.max[row]} - max);
  of.log_p[row] = static_cast<float>(double{score} - max - std::log(sum));
  float* grad = of.grad_x + row * of.width;
  std::fill_n(grad, of.width, 0.0f);
  for (const PartSums& part : parts) {
    const double share = std::exp(double{part.max[row]} - max) / sum;
    add_row(of.width, static_cast<float>(of.scale * share), part.mixed + row * of.width, grad);
  }
  w.row(of.labels[row], label_row);
  add_row(of.width, -of.scale, label_row, grad);
}

// Of at most kRowBlock rows.
template <class Matrix>
void compute_rows(const Matrix& w, const CrossEntropy& of) {
  using Operands = typename Matrix::Operands;
  using Word = typename Matrix::Word;
  const int64_t rows = of.rows, width = of.width, stride = padded(rows), depth = Operands::depth(width);
  const int64_t left_words = Operands::left_words(rows, width);
  thread_local Workspace shared;
  shared.reset(packed_floats(depth, rows) + left_words + stride, 3);
  Word* packed = shared.take<Word>(packed_floats(depth, rows));
  Operands::pack_transposed(width, rows, of.x, width, packed, shared.take<Word>(left_words));
  float* score = shared.take(stride);

  const auto [tokens, count] = parts_in(of.vocabulary);
  std::vector<PartSums> parts;
  for (int64_t i = 0; i < count; i++) {
    float* piece = of.scratch + i * (2 * stride + rows * width);
    parts.push_back({piece, piece + stride, piece + 2 * stride});
  }
  at::parallel_for(0, count, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i++) {
      compute_part(w, of, packed_operand<Word>(packed, depth), i * tokens, std::min((i + 1) * tokens, of.vocabulary),
                   parts[i], score);
    }
  });
  at::parallel_for(0, rows, 8, [&](int64_t first, int64_t last) {
    Workspace& own = Workspace::of_this_thread();
    own.reset(width, 1);
    float* label_row = own.take(width);
    for (int64_t row = first; row < last; row++) join_parts(w, of, parts, row, score[row], label_row);
  });
}

template <class Matrix>
void compute_all(const Matrix& w, const CrossEntropy& all) {
  for (int64_t begin = 0; begin < all.rows; begin += kRowBlock) {
    CrossEntropy of = all;
    of.rows = std::min(kRowBlock, all.rows - begin);
    of.x += begin * all.width;
    of.labels += begin;
    of.log_p += begin;
    of.grad_x += begin * all.width;
    compute_rows(w, of);
  }
}

}  // namespace

int64_t CrossEntropy::scratch_floats() const {
  const int64_t together = std::min(rows, kRowBlock);
  return parts_in(vocabulary).count * (2 * padded(together) + together * width);
}

void vocabulary_cross_entropy(const CrossEntropy& of, const float* w, bool narrow) {
  if (narrow && multiplies_bfloat16()) {
    compute_all(FloatMatrix<NarrowOperands>{w, of.width}, of);
  } else {
    compute_all(FloatMatrix<WideOperands>{w, of.width}, of);
  }
}

void vocabulary_cross_entropy(const CrossEntropy& of, const Bfloat16* w) { compute_all(NarrowMatrix{w, of.width}, of); }

}  // namespace rkif
