// Products head by head against sums in double precision.
#include <algorithm>

#include "check.h"
#include "kernels/bfloat16.h"
#include "kernels/head_products.h"
#include "kernels/matmul_narrow.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

namespace {

struct Problem {
  int64_t rows;
  HeadWeights weights;
  std::vector<float> w, b, x, spread, grad_b;
  std::vector<Bfloat16> narrow_w;

  // Two paths' h beside the width; the layer's own is the second.
  Problem(int64_t rows, int64_t heads, int64_t size, int64_t width, int64_t rank, bool narrow)
      : rows(rows),
        weights{heads, size, width},
        w(normal(heads * size * width, 1)),
        b(normal(heads * size * rank, 2)),
        x(normal(rows * heads * size, 3)),
        spread(normal(rows * heads * (width + 2 * rank), 4)),
        grad_b(normal(heads * size * rank, 5)) {
    weights.rank = rank;
    weights.b = b.data();
    weights.scale = 0.7f;
    weights.row = width + 2 * rank;
    weights.column = width + rank;
    if (!narrow) {
      weights.w = w.data();
      return;
    }
    narrow_w = rounded(w);
    for (size_t i = 0; i < w.size(); ++i) w[i] = widened(narrow_w[i]);
    weights.narrow_w = narrow_w.data();
  }
  // What W multiplies.
  float operand(float value) const {
    const bool rounds = weights.narrow_w != nullptr && multiplies_bfloat16() && weights.width % 2 == 0;
    return rounds ? widened(rounded(std::vector<float>{value})[0]) : value;
  }
};

// Beside round numbers: one row, more rows than a task has, sizes and widths that fill no vector, an odd width (bf16 is
// widened then), no path.
const int64_t kShapes[][5] = {{60, 8, 64, 512, 8}, {1, 3, 5, 46, 2},   {300, 2, 16, 64, 8},
                              {7, 4, 6, 33, 3},    {130, 1, 3, 20, 1}, {9, 2, 8, 32, 0}};

template <typename Check>
void for_problems(const Check& check) {
  for (const auto& [rows, heads, size, width, rank] : kShapes) {
    for (bool narrow : {false, true}) {
      Problem p(rows, heads, size, width, rank, narrow);
      check(p);
    }
  }
}

}  // namespace

TEST("head products: rows are spread by W and by B, zeros between") {
  for_problems([](const Problem& p) {
    const auto& [heads, size, width, w, narrow, rank, b, scale, row, column] = p.weights;
    std::vector<float> found(p.rows * heads * row, kNaN);
    spread_heads(p.weights, p.rows, p.x.data(), found.data());
    for (int64_t i = 0; i < p.rows; ++i) {
      for (int64_t head = 0; head < heads; ++head) {
        const float* x = p.x.data() + (i * heads + head) * size;
        for (int64_t c = 0; c < row; ++c) {
          double sum = 0;
          for (int64_t s = 0; s < size; ++s) {
            const int64_t of = head * size + s;
            if (c < width) sum += double{p.operand(x[s])} * p.w[of * width + c];
            if (c >= column) sum += double{x[s]} * scale * p.b[of * rank + c - column];
          }
          const float value = found[(i * heads + head) * row + c];
          CHECK_NEAR(value, sum, 4e-6 * size);
          if (c >= width && c < column) CHECK(value == 0);
        }
      }
    }
  });
}

TEST("head products: rows are gathered by the transposed") {
  for_problems([](const Problem& p) {
    const auto& [heads, size, width, w, narrow, rank, b, scale, row, column] = p.weights;
    std::vector<float> found(p.rows * heads * size, kNaN);
    gather_heads(p.weights, p.rows, p.spread.data(), found.data());
    for (int64_t i = 0; i < p.rows; ++i) {
      for (int64_t head = 0; head < heads; ++head) {
        const float* from = p.spread.data() + (i * heads + head) * row;
        for (int64_t s = 0; s < size; ++s) {
          const int64_t of = head * size + s;
          double sum = 0;
          for (int64_t c = 0; c < width; ++c) sum += double{p.operand(from[c])} * p.w[of * width + c];
          for (int64_t j = 0; j < rank; ++j) sum += double{from[column + j]} * scale * p.b[of * rank + j];
          CHECK_NEAR(found[(i * heads + head) * size + s], sum, 2e-6 * row);
        }
      }
    }
  });
}

TEST("head products: the gradient of B is added, whichever way h lies") {
  for_problems([](const Problem& p) {
    const auto& [heads, size, width, w, narrow, rank, b, scale, row, column] = p.weights;
    if (rank == 0) return;
    const HeadHidden in_rows{p.spread.data() + column, heads * row, row};
    std::vector<float> alone(p.rows * heads * rank);
    for (int64_t i = 0; i < p.rows * heads; ++i) {
      std::copy_n(p.spread.data() + i * row + column, rank, alone.data() + i * rank);
    }
    std::vector<float> found = p.grad_b, again = p.grad_b;
    add_head_gradient(p.weights, p.rows, p.x.data(), in_rows, found.data());
    add_head_gradient(p.weights, p.rows, p.x.data(), {alone.data(), heads * rank, rank}, again.data());
    CHECK(found == again);
    for (int64_t of = 0; of < heads * size; ++of) {
      for (int64_t j = 0; j < rank; ++j) {
        double sum = p.grad_b[of * rank + j];
        for (int64_t i = 0; i < p.rows; ++i) {
          sum += double{p.x[i * heads * size + of]} * scale * alone[(i * heads + of / size) * rank + j];
        }
        CHECK_NEAR(found[of * rank + j], sum, 2e-6 * (p.rows + 10));
      }
    }
  });
}
