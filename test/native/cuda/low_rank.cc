// The GPU's low-rank path against the CPU's.
#include "kernels/cuda/low_rank.h"

#include <algorithm>

#include "cuda_test.h"
#include "kernels_low_rank.h"

using namespace rkif;
using namespace rkif::test;

namespace {

// Columns that fill no tile, one tile, and several blocks; ranks below and above what is kept in registers; rows of one
// block and of many; addresses that allow no access of 16 bytes.
const std::vector<LowRankShape> kShapes{{0, 16, 16, 4},   {1, 512, 640, 8},   {5, 33, 47, 3},     {64, 128, 16, 16},
                                        {131, 100, 7, 1}, {70, 40, 1100, 20}, {37, 1300, 260, 8}, {300, 24, 24, 64},
                                        {9, 132, 68, 70}, {50, 64, 64, 8, 1}, {515, 136, 132, 7}};

LowRankResults on_cpu(const LowRankProblem& p) {
  const LowRankShape& s = p.shape;
  LowRankResults out(s);
  rkif::low_rank_forward(s.rows, p.layer(), p.x.data() + s.skipped, out.y.data() + s.skipped, out.hidden.data());
  rkif::low_rank_backward(s.rows, p.layer(), p.x.data() + s.skipped, out.hidden.data(), p.dy.data() + s.skipped,
                          {out.dx.data() + s.skipped, out.da.data(), out.db.data()});
  return out;
}

LowRankResults on_gpu(const LowRankProblem& p) {
  const cuda::Context context = cuda_context();
  const LowRankShape& s = p.shape;
  LowRankResults out(s);
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
  for_low_rank_problems(kShapes, [](const LowRankProblem& problem) {
    const LowRankResults expected = on_cpu(problem), found = on_gpu(problem);
    check_near(found.hidden, expected.hidden, 2e-6);
    check_near(found.y, expected.y, 2e-6);
    check_near(found.dx, expected.dx, 2e-6);
    check_near(found.da, expected.da, 4e-6);
    check_near(found.db, expected.db, 4e-6);
  });
}

TEST("cuda low rank: the same bits whatever thread is first") {
  const LowRankProblem problem({70, 700, 136, 12}, 0.1);
  const LowRankResults first = on_gpu(problem);
  in_thread_orders([&] { CHECK(on_gpu(problem) == first); });
}

TEST("cuda low rank: what is not wanted is not needed") {
  const cuda::Context context = cuda_context();
  const LowRankProblem problem({130, 48, 32, 8}, 0.1);
  const LowRankShape& s = problem.shape;
  const LowRankResults all = on_gpu(problem);
  LowRankResults some(s);
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
  check_low_rank_on_base([&](const LowRankProblem& p, float* y, const Bfloat16* base) {
    cuda::low_rank_forward(context, p.shape.rows, p.layer(), p.x.data(), y, nullptr, base);
  });
}
