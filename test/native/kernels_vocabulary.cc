// Products with the vocabulary's matrix, and the cross entropy behind them, against sums in double precision.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "check.h"
#include "kernels/bfloat16.h"
#include "kernels/matmul_narrow.h"
#include "kernels/vocabulary.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

namespace {

// Beside round numbers: one row, more rows than pass together, vocabularies of one token, that no block divides and of
// several parts, widths that fill no vector.
const int64_t kShapes[][3] = {{64, 1000, 128}, {1, 777, 96}, {33, 130, 47}, {3, 1, 5},
                              {200, 321, 32},  {5, 70, 46},  {9, 3000, 16}};
constexpr float kScale = 0.25f;

struct Loss {
  std::vector<float> log_p, gradient;
  bool operator==(const Loss&) const = default;
};

struct Problem {
  int64_t rows, vocabulary, width;
  std::vector<float> x, w;
  std::vector<int32_t> labels;
  // Scores of some 3 times `deviation`; the first and the last token are labels.
  Problem(int64_t rows, int64_t vocabulary, int64_t width, float deviation = 1)
      : rows(rows),
        vocabulary(vocabulary),
        width(width),
        x(normal(rows * width, 1, 3 * deviation / std::sqrt(static_cast<float>(width)))),
        w(normal(vocabulary * width, 2)) {
    for (int64_t i = 0; i < rows; ++i) labels.push_back(static_cast<int32_t>(i * 7919 % vocabulary));
    labels.back() = static_cast<int32_t>(vocabulary - 1);
  }

  std::vector<float> logits() const {
    std::vector<float> out(rows * vocabulary, kNaN);
    vocabulary_logits(rows, vocabulary, width, x.data(), w.data(), out.data());
    return out;
  }
  template <typename Compute>
  Loss loss_by(const Compute& compute) const {
    Loss found{std::vector<float>(rows, kNaN), std::vector<float>(rows * width, kNaN)};
    CrossEntropy of{
        rows, vocabulary, width, x.data(), labels.data(), kScale, found.log_p.data(), found.gradient.data()};
    std::vector<float> scratch(of.scratch_floats() + 1, kNaN);
    of.scratch = scratch.data();
    compute(of);
    CHECK(std::isnan(scratch.back()));
    return found;
  }
  Loss loss(bool narrow = false) const {
    return loss_by([&](const CrossEntropy& of) { vocabulary_cross_entropy(of, w.data(), narrow); });
  }
};

std::vector<double> scores_of(const Problem& p, int64_t row) {
  std::vector<double> scores(p.vocabulary);
  for (int64_t v = 0; v < p.vocabulary; ++v) {
    for (int64_t k = 0; k < p.width; ++k) scores[v] += double{p.x[row * p.width + k]} * p.w[v * p.width + k];
  }
  return scores;
}

void check_loss(const Problem& p, const Loss& found, double tolerance) {
  for (int64_t i = 0; i < p.rows; ++i) {
    const std::vector<double> scores = scores_of(p, i);
    const double max = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double score : scores) sum += std::exp(score - max);
    CHECK_NEAR(found.log_p[i], scores[p.labels[i]] - max - std::log(sum), tolerance * (1 + std::abs(max)));
    for (int64_t k = 0; k < p.width; ++k) {
      double mixed = 0;
      for (int64_t v = 0; v < p.vocabulary; ++v) mixed += std::exp(scores[v] - max) / sum * p.w[v * p.width + k];
      const double expected = kScale * (mixed - p.w[p.labels[i] * p.width + k]);
      CHECK_NEAR(found.gradient[i * p.width + k], expected, tolerance * (1 + std::abs(max)));
    }
  }
}

std::vector<float> to_bfloat16(const std::vector<float>& x) {
  std::vector<float> result;
  for (Bfloat16 value : rounded(x)) result.push_back(widened(value));
  return result;
}

}  // namespace

TEST("vocabulary: logits against double precision") {
  for (const auto& [rows, vocabulary, width] : kShapes) {
    Problem p(rows, vocabulary, width);
    const std::vector<float> logits = p.logits();
    for (int64_t i = 0; i < rows; ++i) {
      const std::vector<double> expected = scores_of(p, i);
      for (int64_t v = 0; v < vocabulary; ++v) CHECK_NEAR(logits[i * vocabulary + v], expected[v], 4e-6 * width);
    }
  }
}

TEST("cross entropy: log probabilities and the gradient against double precision") {
  for (const auto& [rows, vocabulary, width] : kShapes) {
    Problem p(rows, vocabulary, width);
    check_loss(p, p.loss(), 3e-6);
  }
  // Scores far beyond what an exponential holds, whose maximum comes late or early.
  Problem wide(20, 3000, 24, 60);
  check_loss(wide, wide.loss(), 3e-6);
}

TEST("cross entropy: the maximum is that of all parts, wherever it stands") {
  for (int64_t best : {0, 700, 1500, 2999}) {
    Problem p(1, 3000, 8);
    for (int64_t k = 0; k < 8; ++k) p.w[best * 8 + k] = 40 * p.x[k];
    check_loss(p, p.loss(), 3e-6);
    p.labels = {static_cast<int32_t>(best)};
    check_loss(p, p.loss(), 3e-6);
  }
}

TEST("cross entropy: operands rounded to bf16 give the loss of the rounded") {
  for (const auto& [rows, vocabulary, width] : kShapes) {
    Problem p(rows, vocabulary, width), expected = p;
    const Loss narrow = p.loss(true);
    // Elsewhere `narrow` changes nothing.
    if (!multiplies_bfloat16()) {
      CHECK(narrow == p.loss());
      continue;
    }
    expected.x = to_bfloat16(p.x);
    expected.w = to_bfloat16(p.w);
    const Loss of_rounded = expected.loss();
    for (int64_t i = 0; i < rows; ++i) CHECK_NEAR(narrow.log_p[i], of_rounded.log_p[i], 2e-5);
    // Numerators are rounded, too: relative errors of 2^-9 at most, of which many make a sum.
    for (size_t i = 0; i < narrow.gradient.size(); ++i) {
      CHECK_NEAR(narrow.gradient[i], of_rounded.gradient[i], kScale * 6e-3);
    }
  }
}

TEST("cross entropy: a matrix in bf16 gives the same bits as one that is rounded on the way") {
  if (!multiplies_bfloat16()) return;
  for (const auto& [rows, vocabulary, width] : kShapes) {
    if (width % 2 != 0) continue;
    Problem p(rows, vocabulary, width);
    const std::vector<Bfloat16> w = rounded(p.w);
    CHECK(p.loss_by([&](const CrossEntropy& of) { vocabulary_cross_entropy(of, w.data()); }) == p.loss(true));
  }
}

TEST("cross entropy: what is no number shows in its row alone") {
  Problem p(3, 1200, 16);
  const Loss before = p.loss();
  p.x[16 + 5] = kNaN;
  const Loss found = p.loss();
  CHECK(std::isnan(found.log_p[1]) && std::isnan(found.gradient[16]));
  CHECK(found.log_p[0] == before.log_p[0] && found.log_p[2] == before.log_p[2]);
  CHECK(std::equal(found.gradient.begin(), found.gradient.begin() + 16, before.gradient.begin()));
  CHECK(std::equal(found.gradient.begin() + 32, found.gradient.end(), before.gradient.begin() + 32));
}

TEST("vocabulary: the same bits whatever the threads") {
  Problem p(40, 2900, 200);
  std::vector<float> logits;
  Loss loss, narrow;
  with_threads(1, [&] { logits = p.logits(), loss = p.loss(), narrow = p.loss(true); });
  for (int threads : {2, 3, 7}) {
    with_threads(threads, [&] { CHECK(p.logits() == logits && p.loss() == loss && p.loss(true) == narrow); });
  }
}
