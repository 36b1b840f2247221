// The low-rank path against sums in double precision.
#include <ATen/Parallel.h>

#include <algorithm>
#include <string>

#include "check.h"
#include "kernels/low_rank.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

namespace {

struct Shape {
  int64_t rows, in, out, r;
};
// Beside round numbers: columns that fill no vector, ranks above one, rows of many stripes, and a single row.
const std::vector<Shape> kShapes{{960, 512, 384, 8}, {1, 512, 512, 8},  {5, 33, 47, 3},    {64, 16, 16, 16},
                                 {131, 100, 7, 1},   {300, 40, 72, 20}, {70, 3000, 96, 8}, {2500, 24, 24, 64}};

struct Problem {
  Shape shape;
  double rate;
  std::vector<float> a, b, x, dy;
  Places places;
  static constexpr float kScale = 0.5f;

  Problem(const Shape& s, double rate)
      : shape(s),
        rate(rate),
        a(normal(s.r * s.in, 1)),
        b(normal(s.out * s.r, 2)),
        x(normal(s.rows * s.in, 3)),
        dy(normal(s.rows * s.out, 4)),
        places(s.rows, 9, 77) {}
  LowRank layer() const {
    return {shape.in, shape.out, shape.r, a.data(), b.data(), kScale, rate > 0 ? places.keys() : DropoutKeys{}, rate};
  }
  // What dropout makes of x, by the kernel that has tests of its own.
  std::vector<float> dropped(const std::vector<float>& values) const {
    std::vector<float> out(values.size());
    dropout_rows({shape.rows, shape.in, places.keys(), rate}, values.data(), out.data());
    return out;
  }
  std::string name() const {
    return std::to_string(shape.rows) + " x " + std::to_string(shape.in) + " -> " + std::to_string(shape.out) +
           ", rank " + std::to_string(shape.r) + ", dropout " + std::to_string(rate);
  }
};

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

struct Results {
  std::vector<float> y, hidden, dx, da, db;
};

// Onto what the outputs held: ones.
Results run(const Problem& p) {
  const Shape& s = p.shape;
  Results out{std::vector<float>(s.rows * s.out, 1), std::vector<float>(s.rows * s.r),
              std::vector<float>(s.rows * s.in, 1), std::vector<float>(s.r * s.in, 1),
              std::vector<float>(s.out * s.r, 1)};
  low_rank_forward(s.rows, p.layer(), p.x.data(), out.y.data(), out.hidden.data());
  low_rank_backward(s.rows, p.layer(), p.x.data(), out.hidden.data(), p.dy.data(),
                    {out.dx.data(), out.da.data(), out.db.data()});
  return out;
}

void check_against_double(const Problem& p) {
  const Shape& s = p.shape;
  const std::vector<float> d = p.dropped(p.x);
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
  const std::vector<float> mask = p.dropped(std::vector<float>(p.x.size(), 1));
  for (size_t i = 0; i < dx.size(); ++i) dx[i] = 1 + Problem::kScale * dx[i] * mask[i];
  for (double& value : y) value = 1 + Problem::kScale * value;
  for (double& value : da) value = 1 + Problem::kScale * value;
  for (double& value : db) value = 1 + Problem::kScale * value;

  Results found = run(p);
  CHECK_NEAR(difference(found.hidden, hidden), 0, 2e-6);
  CHECK_NEAR(difference(found.y, y), 0, 2e-6);
  CHECK_NEAR(difference(found.dx, dx), 0, 2e-6);
  CHECK_NEAR(difference(found.da, da), 0, 4e-6);
  CHECK_NEAR(difference(found.db, db), 0, 4e-6);
}

}  // namespace

TEST("low rank: forward and backward against double precision") {
  for (const Shape& shape : kShapes) {
    for (double rate : {0.0, 0.3}) {
      Problem problem(shape, rate);
      try {
        check_against_double(problem);
      } catch (const Failure& failure) {
        throw Failure(problem.name() + ": " + failure.what());
      }
    }
  }
}

TEST("low rank: the same bits whatever the threads") {
  Problem problem({960, 512, 384, 8}, 0.1);
  Results one;
  with_threads(1, [&] { one = run(problem); });
  for (int threads : {2, 3, 7}) {
    Results many;
    with_threads(threads, [&] { many = run(problem); });
    CHECK(many.y == one.y && many.hidden == one.hidden && many.dx == one.dx && many.da == one.da && many.db == one.db);
  }
}

TEST("low rank: what is not wanted is not needed") {
  Problem problem({130, 48, 32, 8}, 0.1);
  const Shape& s = problem.shape;
  Results all = run(problem);

  std::vector<float> y(s.rows * s.out, 1), dx(s.rows * s.in, 1), da(s.r * s.in, 1), db(s.out * s.r, 1);
  low_rank_forward(s.rows, problem.layer(), problem.x.data(), y.data(), nullptr);
  CHECK(y == all.y);
  low_rank_backward(s.rows, problem.layer(), nullptr, nullptr, problem.dy.data(), {dx.data()});
  CHECK(dx == all.dx);
  low_rank_backward(s.rows, problem.layer(), problem.x.data(), all.hidden.data(), problem.dy.data(),
                    {nullptr, da.data(), db.data()});
  CHECK(da == all.da && db == all.db);
}

TEST("low rank: on a product in bf16, as on the same values in y") {
  for (const Shape& shape : {Shape{131, 100, 7, 1}, Shape{300, 40, 72, 20}, Shape{260, 48, 33, 8}}) {
    for (double rate : {0.0, 0.3}) {
      const Problem problem(shape, rate);
      const int64_t n = shape.rows * shape.out;
      const std::vector<Bfloat16> base = rounded(normal(n, 9));
      std::vector<float> expected = widened(base), y(n, kNaN);
      low_rank_forward(shape.rows, problem.layer(), problem.x.data(), expected.data(), nullptr);
      // Nothing of y itself is read.
      low_rank_forward(shape.rows, problem.layer(), problem.x.data(), y.data(), nullptr, base.data());
      CHECK(same_bits(y, expected));
    }
  }
}
