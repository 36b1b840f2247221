// Products with a thin matrix against sums in double precision.
#include <algorithm>
#include <cmath>

#include "check.h"
#include "kernels/thin_products.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

TEST("thin products: sums of any length, for any rank, and a row's whatever rows are beside it") {
  for (int64_t k : {1, 15, 16, 33, 512, 1000}) {
    for (int64_t r : {1, 3, 8, 11, 16}) {
      constexpr int64_t kRows = 5;
      const int64_t stride = k + 3;
      const std::vector<float> x = normal(kRows * stride, 1);
      std::vector<float> thin = normal(padded_thin_rows(r) * k, 2);
      std::fill(thin.begin() + r * k, thin.end(), 0.0f);
      std::vector<float> found(kRows * r + 1, kNaN), one(r);
      thin_products(kRows, k, x.data(), stride, thin.data(), r, found.data());
      for (int64_t i = 0; i < kRows; ++i) {
        for (int64_t j = 0; j < r; ++j) {
          double sum = 0, size = 0;
          for (int64_t p = 0; p < k; ++p) {
            const double product = double{x[i * stride + p]} * thin[j * k + p];
            sum += product;
            size += std::abs(product);
          }
          CHECK_NEAR(found[i * r + j], sum, 1e-6 * size);
        }
        thin_products(1, k, x.data() + i * stride, stride, thin.data(), r, one.data());
        CHECK(std::equal(one.begin(), one.end(), found.begin() + i * r));
      }
      CHECK(std::isnan(found.back()));
    }
  }
}
