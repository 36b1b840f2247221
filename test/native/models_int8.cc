// Weight-only 8-bit matrices.
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>

#include "check.h"
#include "models/int8.h"
#include "models_small_t5.h"

using namespace rkif;
using namespace rkif::test;

namespace {

at::Tensor dequantised(const QuantisedRows& q) { return q.values.to(at::kFloat).mul(q.scales.unsqueeze(1)); }

}  // namespace

TEST("int8: every weight is within half a step of its row's scale, the largest exact") {
  at::Tensor weight = random_matrix(37, 101, 1);
  for (at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    at::Tensor stored = weight.to(type);
    QuantisedRows q = quantise_rows(stored);
    at::Tensor difference = dequantised(q).sub(stored.to(at::kFloat)).abs();
    at::Tensor steps = difference.div(q.scales.unsqueeze(1));
    CHECK(steps.max().item<double>() <= 0.5 + 1e-5);
    CHECK_EQUAL(q.values.to(at::kInt).abs().amax({1}).eq(127).sum().item<int64_t>(), 37);
  }
}

TEST("int8: rows of zeros, and values that are not finite") {
  at::Tensor weight = random_matrix(3, 8, 2);
  weight.select(0, 1).zero_();
  QuantisedRows q = quantise_rows(weight);
  CHECK_EQUAL(q.scales.select(0, 1).item<double>(), 0);
  CHECK_EQUAL(q.values.select(0, 1).to(at::kInt).abs().sum().item<int64_t>(), 0);
  for (float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    weight.select(0, 2).select(0, 5).fill_(bad);
    CHECK_THROWS(quantise_rows(weight), std::invalid_argument, "row 2");
  }
}

TEST("int8: products equal those of the dequantised matrix up to bf16's rounding, for any number of blocks") {
  // More columns, fewer rows a block: 100,000 columns make blocks of 16 rows.
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{5, 7}, {300, 64}, {45, 100000}}) {
    QuantisedRows q = quantise_rows(random_matrix(rows, columns, 3));
    at::Tensor x = random_matrix(4, columns, 4), y = random_matrix(4, rows, 5), w = dequantised(q);
    at::Tensor forward = at::matmul(x, w.t()), backward = at::matmul(y, w);
    CHECK(relative_difference(values(times_transposed(x, q)), values(forward)) < 0.01);
    CHECK(relative_difference(values(times(y, q)), values(backward)) < 0.01);
  }
}
