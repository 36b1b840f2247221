// The GPU's low-rank path against the CPU's.
#include "kernels/cuda/low_rank.h"

#include <algorithm>
#include <string>

#include "cuda_test.h"

using namespace rkif;
using namespace rkif::test;

namespace {

struct Shape {
  int64_t rows, in, out, r, skipped = 0;
};
// Columns that fill no tile, one tile, and several blocks; ranks below and above what is kept in registers; rows of one
// block and of many; addresses that allow no access of 16 bytes.
const std::vector<Shape> kShapes{{0, 16, 16, 4},   {1, 512, 640, 8},   {5, 33, 47, 3},     {64, 128, 16, 16},
                                 {131, 100, 7, 1}, {70, 40, 1100, 20}, {37, 1300, 260, 8}, {300, 24, 24, 64},
                                 {9, 132, 68, 70}, {50, 64, 64, 8, 1}, {515, 136, 132, 7}};

struct Problem {
  Shape shape;
  double rate;
  std::vector<float> a, b, x, dy;
  Places places;

  Problem(const Shape& s, double rate)
      : shape(s),
        rate(rate),
        a(normal(s.r * s.in, 1)),
        b(normal(s.out * s.r, 2)),
        x(normal(s.rows * s.in + s.skipped, 3)),
        dy(normal(s.rows * s.out + s.skipped, 4)),
        places(s.rows, 9, 77) {}
  LowRank layer() const {
    return {shape.in, shape.out, shape.r, a.data(), b.data(), 0.5f, rate > 0 ? places.keys() : DropoutKeys{}, rate};
  }
};

struct Results {
  std::vector<float> y, hidden, dx, da, db;

  // The outputs hold ones.
  explicit Results(const Shape& s)
      : y(s.rows * s.out + s.skipped, 1),
        hidden(s.rows * s.r, kNaN),
        dx(s.rows * s.in + s.skipped, 1),
        da(s.r * s.in, 1),
        db(s.out * s.r, 1) {}
  bool operator==(const Results&) const = default;
};

Results on_cpu(const Problem& p) {
  const Shape& s = p.shape;
  Results out(s);
  rkif::low_rank_forward(s.rows, p.layer(), p.x.data() + s.skipped, out.y.data() + s.skipped, out.hidden.data());
  rkif::low_rank_backward(s.rows, p.layer(), p.x.data() + s.skipped, out.hidden.data(), p.dy.data() + s.skipped,
                          {out.dx.data() + s.skipped, out.da.data(), out.db.data()});
  return out;
}

Results on_gpu(const Problem& p) {
  const cuda::Context context = cuda_context();
  const Shape& s = p.shape;
  Results out(s);
  cuda::low_rank_forward(context, s.rows, p.layer(), p.x.data() + s.skipped, out.y.data() + s.skipped,
                         out.hidden.data());
  cuda::low_rank_backward(context, s.rows, p.layer(), p.x.data() + s.skipped, out.hidden.data(),
                          p.dy.data() + s.skipped, {out.dx.data() + s.skipped, out.da.data(), out.db.data()});
  return out;
}

// As a share of the largest value.
void check_near(const std::vector<float>& found, const std::vector<float>& expected, double tolerance) {
  float largest = 0;
  for (float value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < found.size(); ++i) CHECK_NEAR(found[i], expected[i], tolerance * largest);
}

}  // namespace

TEST("cuda low rank: forward and backward as on the CPU") {
  for (const Shape& shape : kShapes) {
    for (double rate : {0.0, 0.3}) {
      const Problem problem(shape, rate);
      try {
        const Results expected = on_cpu(problem), found = on_gpu(problem);
        check_near(found.hidden, expected.hidden, 2e-6);
        check_near(found.y, expected.y, 2e-6);
        check_near(found.dx, expected.dx, 2e-6);
        check_near(found.da, expected.da, 4e-6);
        check_near(found.db, expected.db, 4e-6);
      } catch (const Failure& failure) {
        throw Failure(std::to_string(shape.rows) + " x " + std::to_string(shape.in) + " -> " +
                      std::to_string(shape.out) + ", rank " + std::to_string(shape.r) + ", dropout " +
                      std::to_string(rate) + ": " + failure.what());
      }
    }
  }
}

TEST("cuda low rank: the same bits whatever thread is first") {
  const Problem problem({70, 700, 136, 12}, 0.1);
  const Results first = on_gpu(problem);
  in_thread_orders([&] { CHECK(on_gpu(problem) == first); });
}

TEST("cuda low rank: what is not wanted is not needed") {
  const cuda::Context context = cuda_context();
  const Problem problem({130, 48, 32, 8}, 0.1);
  const Shape& s = problem.shape;
  const Results all = on_gpu(problem);
  Results some(s);
  cuda::low_rank_forward(context, s.rows, problem.layer(), problem.x.data(), some.y.data(), nullptr);
  CHECK(some.y == all.y);
  cuda::low_rank_backward(context, s.rows, problem.layer(), nullptr, nullptr, problem.dy.data(), {some.dx.data()});
  // The same sums in an order of their own.
  check_near(some.dx, all.dx, 2e-6);
  cuda::low_rank_backward(context, s.rows, problem.layer(), problem.x.data(), all.hidden.data(), problem.dy.data(),
                          {nullptr, some.da.data(), some.db.data()});
  CHECK(some.da == all.da && some.db == all.db);
}

TEST("cuda low rank: on a product in bf16, as on the same values in y") {
  const cuda::Context context = cuda_context();
  for (const Shape& shape : {Shape{131, 100, 7, 1}, Shape{300, 40, 72, 20}, Shape{260, 48, 33, 8}}) {
    for (double rate : {0.0, 0.3}) {
      const Problem problem(shape, rate);
      const int64_t n = shape.rows * shape.out;
      const std::vector<Bfloat16> base = rounded(normal(n, 9));
      std::vector<float> expected = widened(base), y(n, kNaN);
      cuda::low_rank_forward(context, shape.rows, problem.layer(), problem.x.data(), expected.data(), nullptr);
      // Nothing of y itself is read.
      cuda::low_rank_forward(context, shape.rows, problem.layer(), problem.x.data(), y.data(), nullptr, base.data());
      CHECK(same_bits(y, expected));
    }
  }
}
