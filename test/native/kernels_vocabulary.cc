// Products with the vocabulary's matrix against sums in double precision.
#include <ATen/Parallel.h>

#include <algorithm>

#include "check.h"
#include "kernels/vocabulary.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

namespace {

// Beside round numbers: one row, a vocabulary that no block divides, widths that fill no vector.
const int64_t kShapes[][3] = {{64, 1000, 128}, {1, 777, 96}, {33, 130, 47}, {3, 1, 5}, {200, 321, 32}};

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

  std::vector<float> logits() const {
    std::vector<float> out(rows * vocabulary, kNaN);
    vocabulary_logits(rows, vocabulary, width, x.data(), w.data(), out.data());
    return out;
  }
  std::vector<float> gradient() const {
    std::vector<float> out(rows * width, kNaN);
    vocabulary_gradient(rows, vocabulary, width, g.data(), w.data(), out.data());
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

TEST("vocabulary: the same bits whatever the threads") {
  const int before = at::get_num_threads();
  Problem p(40, 900, 200);
  at::set_num_threads(1);
  const std::vector<float> logits = p.logits(), gradient = p.gradient();
  for (int threads : {2, 3, 7}) {
    at::set_num_threads(threads);
    CHECK(p.logits() == logits && p.gradient() == gradient);
  }
  at::set_num_threads(before);
}
