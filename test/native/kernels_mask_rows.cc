#include <algorithm>
#include <limits>

#include "check.h"
#include "kernels/mask_rows.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

TEST("mask_rows: rows below the quantile of a sorted copy are zero, the others untouched") {
  for (int64_t rows : {1, 2, 3, 8, 101}) {
    for (double at : {0.0, 0.3, 0.7, 1.0}) {
      const int64_t columns = 5;
      std::vector<float> sums = normal(rows, 7);
      if (rows > 8) sums[3] = sums[9];  // equal sums fall on the same side
      std::vector<float> sorted = sums;
      std::sort(sorted.begin(), sorted.end());
      const double rank = at * static_cast<double>(rows - 1);
      const auto below = static_cast<int64_t>(rank);
      const int64_t above = std::min(below + 1, rows - 1);
      const double quantile = sorted[below] + (rank - below) * (double{sorted[above]} - sorted[below]);
      std::vector<float> values = normal(rows * columns, 8), expected = values;
      for (int64_t i = 0; i < rows * columns; ++i) {
        if (sums[i / columns] < static_cast<float>(quantile)) expected[i] = 0;
      }
      mask_rows(rows, columns, values.data(), sums.data(), at);
      CHECK(same_bits(values, expected));
    }
  }
}

TEST("mask_rows: a sum that is not a number leaves no row") {
  std::vector<float> values = {1, 2, 3, 4};
  const std::vector<float> sums = {5, std::numeric_limits<float>::quiet_NaN()};
  mask_rows(2, 2, values.data(), sums.data(), 0.5);
  CHECK(values == std::vector<float>(4, 0.0f));
}
