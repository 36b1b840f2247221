// Low-rank paths for the tests of the CPU's and of the GPU's kernels.
#pragma once
#include <string>
#include <vector>

#include "check.h"
#include "kernels/low_rank.h"
#include "kernels_data.h"

namespace rkif::test {

struct LowRankShape {
  int64_t rows, in, out, r;
  int64_t skipped = 0;  // elements that x and dy begin behind
};

struct LowRankProblem {
  LowRankShape shape;
  double rate;
  std::vector<float> a, b, x, dy;
  Places places;
  static constexpr float kScale = 0.5f;

  LowRankProblem(const LowRankShape& s, double rate)
      : shape(s),
        rate(rate),
        a(normal(s.r * s.in, 1)),
        b(normal(s.out * s.r, 2)),
        x(normal(s.rows * s.in + s.skipped, 3)),
        dy(normal(s.rows * s.out + s.skipped, 4)),
        places(s.rows, 9, 77) {}
  LowRank layer() const {
    return {shape.in, shape.out, shape.r, a.data(), b.data(), kScale, rate > 0 ? places.keys() : DropoutKeys{}, rate};
  }
  std::string name() const {
    return std::to_string(shape.rows) + " x " + std::to_string(shape.in) + " -> " + std::to_string(shape.out) +
           ", rank " + std::to_string(shape.r) + ", dropout " + std::to_string(rate);
  }
};

// check(problem) for all shapes, without and with dropout.
template <class Check>
void for_low_rank_problems(const std::vector<LowRankShape>& shapes, const Check& check) {
  for (const LowRankShape& shape : shapes) {
    for (double rate : {0.0, 0.3}) {
      const LowRankProblem problem(shape, rate);
      try {
        check(problem);
      } catch (const Failure& failure) {
        throw Failure(problem.name() + ": " + failure.what());
      }
    }
  }
}

struct LowRankResults {
  std::vector<float> y, hidden, dx, da, db;

  // The outputs hold ones.
  explicit LowRankResults(const LowRankShape& s)
      : y(s.rows * s.out + s.skipped, 1),
        hidden(s.rows * s.r, kNaN),
        dx(s.rows * s.in + s.skipped, 1),
        da(s.r * s.in, 1),
        db(s.out * s.r, 1) {}
  bool operator==(const LowRankResults&) const = default;
};

// forward(problem, y, base) on a product in bf16 gives what it does on a y with the same values.
template <class Forward>
void check_low_rank_on_base(const Forward& forward) {
  for_low_rank_problems({{131, 100, 7, 1}, {300, 40, 72, 20}, {260, 48, 33, 8}}, [&](const LowRankProblem& problem) {
    const int64_t n = problem.shape.rows * problem.shape.out;
    const std::vector<Bfloat16> base = rounded(normal(n, 9));
    std::vector<float> expected = widened(base), y(n, kNaN);
    forward(problem, expected.data(), nullptr);
    // Nothing of y itself is read.
    forward(problem, y.data(), base.data());
    CHECK(same_bits(y, expected));
  });
}

}  // namespace rkif::test
