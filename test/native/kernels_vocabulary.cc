// Products with the vocabulary's matrix against sums in double precision.
#include <ATen/Parallel.h>

#include <algorithm>

#include "check.h"
#include "kernels/bfloat16.h"
#include "kernels/matmul_narrow.h"
#include "kernels/vocabulary.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

namespace {

// Beside round numbers: one row, a vocabulary that no block divides, widths that fill no vector.
const int64_t kShapes[][3] = {{64, 1000, 128}, {1, 777, 96}, {33, 130, 47}, {3, 1, 5}, {200, 321, 32}, {5, 70, 46}};

struct Problem {
  int64_t rows, vocabulary, width;
  std::vector<float> x, w, g;
  Problem(int64_t rows, int64_t vocabulary, int64_t width)
      : rows(rows),
        vocabulary(vocabulary),
        width(width),
        x(normal(rows * width, 1)),
        w(normal(vocabulary * width, 2)),
        g(normal(rows * vocabulary, 3)) {}

  std::vector<float> logits(bool narrow = false) const {
    std::vector<float> out(rows * vocabulary, kNaN);
    vocabulary_logits(rows, vocabulary, width, x.data(), w.data(), narrow, out.data());
    return out;
  }
  std::vector<float> gradient(bool narrow = false) const {
    std::vector<float> out(rows * width, kNaN);
    vocabulary_gradient(rows, vocabulary, width, g.data(), w.data(), narrow, out.data());
    return out;
  }
};

}  // namespace

TEST("vocabulary: logits and their gradient against double precision") {
  for (const auto& [rows, vocabulary, width] : kShapes) {
    Problem p(rows, vocabulary, width);
    const std::vector<float> logits = p.logits(), gradient = p.gradient();
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t v = 0; v < vocabulary; ++v) {
        double sum = 0;
        for (int64_t k = 0; k < width; ++k) sum += double{p.x[i * width + k]} * p.w[v * width + k];
        CHECK_NEAR(logits[i * vocabulary + v], sum, 2e-6 * width);
      }
      for (int64_t k = 0; k < width; ++k) {
        double sum = 0;
        for (int64_t v = 0; v < vocabulary; ++v) sum += double{p.g[i * vocabulary + v]} * p.w[v * width + k];
        CHECK_NEAR(gradient[i * width + k], sum, 2e-6 * vocabulary);
      }
    }
  }
}

TEST("vocabulary: operands rounded to bf16 give the products of the rounded, to fp32's precision") {
  auto to_bfloat16 = [](const std::vector<float>& x) {
    std::vector<float> result;
    for (Bfloat16 value : rounded(x)) result.push_back(widened(value));
    return result;
  };
  for (const auto& [rows, vocabulary, width] : kShapes) {
    Problem p(rows, vocabulary, width), expected = p;
    // Elsewhere `narrow` changes nothing.
    if (multiplies_bfloat16()) {
      for (auto part : {&Problem::x, &Problem::w, &Problem::g}) expected.*part = to_bfloat16(p.*part);
    }
    const std::vector<float> logits = expected.logits(), narrow = p.logits(true);
    for (size_t i = 0; i < logits.size(); ++i) CHECK_NEAR(narrow[i], logits[i], 4e-6 * width);
    const std::vector<float> gradient = expected.gradient(), narrow_gradient = p.gradient(true);
    for (size_t i = 0; i < gradient.size(); ++i) CHECK_NEAR(narrow_gradient[i], gradient[i], 4e-6 * vocabulary);
  }
}

TEST("vocabulary: a matrix in bf16 gives the same bits as one that is rounded on the way") {
  if (!multiplies_bfloat16()) return;
  for (const auto& [rows, vocabulary, width] : kShapes) {
    if (width % 2 != 0) continue;
    Problem p(rows, vocabulary, width);
    const std::vector<Bfloat16> w = rounded(p.w);
    std::vector<float> logits(rows * vocabulary, kNaN), gradient(rows * width, kNaN);
    vocabulary_logits(rows, vocabulary, width, p.x.data(), w.data(), logits.data());
    vocabulary_gradient(rows, vocabulary, width, p.g.data(), w.data(), gradient.data());
    CHECK(logits == p.logits(true));
    CHECK(gradient == p.gradient(true));
  }
}

TEST("vocabulary: the same bits whatever the threads") {
  Problem p(40, 900, 200);
  for (bool narrow : {false, true}) {
    std::vector<float> logits, gradient;
    with_threads(1, [&] { logits = p.logits(narrow), gradient = p.gradient(narrow); });
    for (int threads : {2, 3, 7}) {
      with_threads(threads, [&] { CHECK(p.logits(narrow) == logits && p.gradient(narrow) == gradient); });
    }
  }
}
