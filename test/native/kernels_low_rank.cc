// The low-rank path against sums in double precision.
#include "kernels_low_rank.h"

#include <algorithm>
#include <optional>

using namespace rkif;
using namespace rkif::test;

namespace {

// Beside round numbers: columns that fill no vector, ranks above one, rows of many stripes, and a single row.
const std::vector<LowRankShape> kShapes{{960, 512, 384, 8}, {1, 512, 512, 8},  {5, 33, 47, 3},    {64, 16, 16, 16},
                                        {131, 100, 7, 1},   {300, 40, 72, 20}, {70, 3000, 96, 8}, {2500, 24, 24, 64}};

// What dropout makes of the values of x, by the kernel that has tests of its own.
std::vector<float> dropped(const LowRankProblem& p, const std::vector<float>& values) {
  std::vector<float> out(values.size());
  dropout_rows({p.shape.rows, p.shape.in, p.places.keys(), p.rate}, values.data(), out.data());
  return out;
}

using Matrix = std::vector<double>;

// C[i][j] = sum over p of left(i, p) * right(p, j).
template <class Left, class Right>
Matrix product(int64_t m, int64_t n, int64_t k, Left left, Right right) {
  Matrix c(m * n);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t p = 0; p < k; ++p) c[i * n + j] += double{left(i, p)} * right(p, j);
    }
  }
  return c;
}

// Largest difference, as a share of the largest expected magnitude.
double difference(const std::vector<float>& found, const Matrix& expected) {
  double worst = 0, largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, std::abs(found[i] - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  return worst / largest;
}

LowRankResults run(const LowRankProblem& p) {
  LowRankResults out(p.shape);
  low_rank_forward(p.shape.rows, p.layer(), p.x.data(), out.y.data(), out.hidden.data());
  low_rank_backward(p.shape.rows, p.layer(), p.x.data(), out.hidden.data(), p.dy.data(),
                    {out.dx.data(), out.da.data(), out.db.data()});
  return out;
}

void check_against_double(const LowRankProblem& p) {
  const LowRankShape& s = p.shape;
  const std::vector<float> d = dropped(p, p.x);
  Matrix hidden = product(
      s.rows, s.r, s.in, [&](int64_t i, int64_t k) { return d[i * s.in + k]; },
      [&](int64_t k, int64_t j) { return p.a[j * s.in + k]; });
  Matrix y = product(
      s.rows, s.out, s.r, [&](int64_t i, int64_t k) { return hidden[i * s.r + k]; },
      [&](int64_t k, int64_t j) { return p.b[j * s.r + k]; });
  Matrix dh = product(
      s.rows, s.r, s.out, [&](int64_t i, int64_t k) { return p.dy[i * s.out + k]; },
      [&](int64_t k, int64_t j) { return p.b[k * s.r + j]; });
  Matrix da = product(
      s.r, s.in, s.rows, [&](int64_t i, int64_t k) { return dh[k * s.r + i]; },
      [&](int64_t k, int64_t j) { return d[k * s.in + j]; });
  Matrix db = product(
      s.out, s.r, s.rows, [&](int64_t i, int64_t k) { return p.dy[k * s.out + i]; },
      [&](int64_t k, int64_t j) { return hidden[k * s.r + j]; });
  Matrix dx = product(
      s.rows, s.in, s.r, [&](int64_t i, int64_t k) { return dh[i * s.r + k]; },
      [&](int64_t k, int64_t j) { return p.a[k * s.in + j]; });
  const std::vector<float> mask = dropped(p, std::vector<float>(p.x.size(), 1));
  for (size_t i = 0; i < dx.size(); ++i) dx[i] = 1 + LowRankProblem::kScale * dx[i] * mask[i];
  for (double& value : y) value = 1 + LowRankProblem::kScale * value;
  for (double& value : da) value = 1 + LowRankProblem::kScale * value;
  for (double& value : db) value = 1 + LowRankProblem::kScale * value;

  const LowRankResults found = run(p);
  CHECK_NEAR(difference(found.hidden, hidden), 0, 2e-6);
  CHECK_NEAR(difference(found.y, y), 0, 2e-6);
  CHECK_NEAR(difference(found.dx, dx), 0, 2e-6);
  CHECK_NEAR(difference(found.da, da), 0, 4e-6);
  CHECK_NEAR(difference(found.db, db), 0, 4e-6);
}

}  // namespace

TEST("low rank: forward and backward against double precision") {
  for_low_rank_problems(kShapes, check_against_double);
}

TEST("low rank: the same bits whatever the threads") {
  const LowRankProblem problem({960, 512, 384, 8}, 0.1);
  std::optional<LowRankResults> one;
  with_threads(1, [&] { one = run(problem); });
  for (int threads : {2, 3, 7}) {
    with_threads(threads, [&] { CHECK(run(problem) == one); });
  }
}

TEST("low rank: what is not wanted is not needed") {
  const LowRankProblem problem({130, 48, 32, 8}, 0.1);
  const int64_t rows = problem.shape.rows;
  const LowRankResults all = run(problem);
  LowRankResults some(problem.shape);
  low_rank_forward(rows, problem.layer(), problem.x.data(), some.y.data(), nullptr);
  CHECK(some.y == all.y);
  low_rank_backward(rows, problem.layer(), nullptr, nullptr, problem.dy.data(), {some.dx.data()});
  CHECK(some.dx == all.dx);
  low_rank_backward(rows, problem.layer(), problem.x.data(), all.hidden.data(), problem.dy.data(),
                    {nullptr, some.da.data(), some.db.data()});
  CHECK(some.da == all.da && some.db == all.db);
}

TEST("low rank: on a product in bf16, as on the same values in y") {
  check_low_rank_on_base([](const LowRankProblem& p, float* y, const Bfloat16* base) {
    low_rank_forward(p.shape.rows, p.layer(), p.x.data(), y, nullptr, base);
  });
}
