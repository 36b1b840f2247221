#include "kernels/cuda/fuse.h"

#include "slices.h"

using namespace rkif;
using namespace rkif::test;

namespace {

const FusionTable kTable{{{0.4f, 0.6f}, {1, 0.125f}, {0.25f, 1}, {0.3f, 0.7f}}};

struct Task {
  explicit Task(int64_t n)
      : start(normal(n, 1)),
        tau_in(normal(n, 2)),
        tau_out(normal(n, 3)),
        score_in(scores(n, 4)),
        score_out(scores(n, 5)),
        mask_in(bits(n, 6)),
        mask_out(bits(n, 7)) {}
  std::vector<float> start, tau_in, tau_out, score_in, score_out;
  std::vector<uint8_t> mask_in, mask_out;
};

}  // namespace

TEST("cuda fuse: the CPU's bits and counts, in place as well, whatever the alignment") {
  const cuda::Context context = cuda_context();
  for (int64_t n : cuda_lengths()) {
    const Task task(n);
    std::vector<float> expected(n);
    const FusionCounts counts = fuse(n, task.start.data(), task.tau_in.data(), task.tau_out.data(), task.mask_in.data(),
                                     task.mask_out.data(), kTable, expected.data());
    for (const auto& [offset, other] : {std::array{0, 0}, std::array{3, 7}, std::array{0, 1}}) {
      in_thread_orders([&] {
        Slice<float> start(task.start, offset), in(task.tau_in, offset), out(task.tau_out, offset);
        Slice<uint8_t> mask_in(task.mask_in, other), mask_out(task.mask_out, other);
        const float threshold_in = 1;
        const std::vector<float> thresholds_out(300, 2);
        FusionCounts found{7, 7, 7, 7};
        cuda::fuse(context, n, start.data(), in.data(), out.data(), {mask_in.data(), &threshold_in, 1},
                   {mask_out.data(), thresholds_out.data(), 300}, kTable, start.data(), found.data());
        CHECK(found == counts);
        CHECK(same_bits(start.values(), expected));
      });
    }
  }
}

TEST("cuda fuse: a NaN among the thresholds leaves parameters = start, and counts of -1") {
  const cuda::Context context = cuda_context();
  for (int64_t n : {int64_t{0}, int64_t{20001}}) {
    const Task task(n);
    const float one = 1;
    std::vector<float> thresholds(600, 1);
    thresholds[599] = kNaN;
    for (bool in : {false, true}) {
      FusionMask sound{task.mask_in.data(), &one, 1}, unsound{task.mask_out.data(), thresholds.data(), 600};
      in_thread_orders([&] {
        std::vector<float> parameters(n, 7);
        FusionCounts counts{};
        cuda::fuse(context, n, task.start.data(), task.tau_in.data(), task.tau_out.data(), in ? unsound : sound,
                   in ? sound : unsound, kTable, parameters.data(), counts.data());
        CHECK(same_bits(parameters, task.start));
        CHECK(counts == (FusionCounts{-1, -1, -1, -1}));
      });
    }
  }
}

TEST("cuda fuse_adaptive: the CPU's bits, with and without weights, whatever the alignment") {
  const cuda::Context context = cuda_context();
  for (int64_t n : cuda_lengths()) {
    const Task task(n);
    for (float temperature : {1.0f, 0.001f}) {
      std::vector<float> expected(n), expected_in(n), expected_out(n);
      const bool fused =
          fuse_adaptive(n, task.start.data(), task.tau_in.data(), task.tau_out.data(), task.score_in.data(),
                        task.score_out.data(), temperature, expected.data(), expected_in.data(), expected_out.data());
      for (const auto& [offset, other] : {std::array{0, 0}, std::array{3, 3}, std::array{0, 1}}) {
        emulation::set_order(offset);
        Slice<float> start(task.start, offset), in(task.tau_in, offset), out(task.tau_out, offset);
        Slice<float> score_in(task.score_in, other), score_out(task.score_out, other);
        std::vector<float> parameters(n, 7), weight_in(n), weight_out(n);
        int32_t done = -1;
        cuda::fuse_adaptive(context, n, start.data(), in.data(), out.data(), score_in.data(), score_out.data(),
                            temperature, parameters.data(), weight_in.data(), weight_out.data(), &done);
        CHECK_EQUAL(done, fused ? 1 : 0);
        CHECK(same_bits(parameters, expected));
        if (fused) CHECK(same_bits(weight_in, expected_in) && same_bits(weight_out, expected_out));
        cuda::fuse_adaptive(context, n, start.data(), in.data(), out.data(), score_in.data(), score_out.data(),
                            temperature, start.data(), nullptr, nullptr, &done);
        CHECK(same_bits(start.values(), expected));
      }
    }
  }
  emulation::set_order(0);
}

TEST("cuda fuse_adaptive: scores that are not finite or all equal leave parameters = start") {
  const cuda::Context context = cuda_context();
  const int64_t n = 5000;
  const auto refused = [&](const Task& task) {
    std::vector<float> parameters(n, 7);
    int32_t fused = -1;
    cuda::fuse_adaptive(context, n, task.start.data(), task.tau_in.data(), task.tau_out.data(), task.score_in.data(),
                        task.score_out.data(), 1, parameters.data(), nullptr, nullptr, &fused);
    CHECK(fused == 0 || fused == 1);
    return fused == 0 && same_bits(parameters, task.start);
  };
  for (float bad : {kNaN, -kNaN, kInfinity, -kInfinity}) {
    Task task(n);
    task.score_in[n - 1] = bad;
    CHECK(refused(task));
    task = Task(n);
    task.score_out[0] = bad;
    CHECK(refused(task));
  }
  Task task(n);
  task.score_out.assign(n, 0.0f);
  task.score_out[5] = -0.0f;
  CHECK(refused(task));
  task.score_out[6] = 1e-45f;
  CHECK(!refused(task));
  int32_t fused = 0;
  CHECK_THROWS(
      cuda::fuse_adaptive(context, n, task.start.data(), task.tau_in.data(), task.tau_out.data(), task.score_in.data(),
                          task.score_out.data(), 0, task.start.data(), nullptr, nullptr, &fused),
      std::invalid_argument, "temperature");
}
