#include <algorithm>

#include "check.h"
#include "kernels/fuse.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

namespace {

const FusionTable kPaper{{{0, 0}, {1, 0}, {0, 1}, {1, 1}}};
const FusionTable kPublishedCode{{{0.5f, 0.5f}, {1, 0}, {0, 1}, {0.4f, 0.6f}}};

struct Task {
  explicit Task(int64_t n)
      : start(normal(n, 1)),
        tau_in(normal(n, 2, 0.1f)),
        tau_out(normal(n, 3, 0.1f)),
        score_in(scores(n, 4)),
        score_out(scores(n, 5)),
        mask_in(bits(n, 6)),
        mask_out(bits(n, 7)) {}
  std::vector<float> start, tau_in, tau_out, score_in, score_out;
  std::vector<uint8_t> mask_in, mask_out;
};

struct Adaptive {
  std::vector<double> weight_in, weight_out, parameters;
};

// The softmax with its maximum subtracted, so that it holds at any temperature.
Adaptive adaptive_reference(const Task& task, double temperature) {
  const auto [in_low, in_high] = std::minmax_element(task.score_in.begin(), task.score_in.end());
  const auto [out_low, out_high] = std::minmax_element(task.score_out.begin(), task.score_out.end());
  Adaptive result;
  for (size_t i = 0; i < task.start.size(); ++i) {
    const double in = (double{task.score_in[i]} - *in_low) / (double{*in_high} - *in_low) / temperature;
    const double out = (double{task.score_out[i]} - *out_low) / (double{*out_high} - *out_low) / temperature;
    const double most = std::max(in, out);
    const double sum = std::exp(in - most) + std::exp(out - most);
    result.weight_in.push_back(std::exp(in - most) / sum);
    result.weight_out.push_back(std::exp(out - most) / sum);
    result.parameters.push_back(task.start[i] +
                                (result.weight_in[i] * task.tau_in[i] + result.weight_out[i] * task.tau_out[i]));
  }
  return result;
}

}  // namespace

TEST("fuse: equals the formula in double precision, with the counts of the four cases") {
  for (int64_t n : lengths()) {
    const Task task(n);
    for (const FusionTable& table : {kPaper, kPublishedCode}) {
      std::vector<double> expected(n);
      FusionCounts counts{};
      for (int64_t i = 0; i < n; ++i) {
        const int which = task.mask_in[i] + 2 * task.mask_out[i];
        ++counts[which];
        expected[i] =
            task.start[i] + (double{table[which].in} * task.tau_in[i] + double{table[which].out} * task.tau_out[i]);
      }
      std::vector<float> parameters(n);
      CHECK(fuse(n, task.start.data(), task.tau_in.data(), task.tau_out.data(), task.mask_in.data(),
                 task.mask_out.data(), table, parameters.data()) == counts);
      CHECK_NEAR(largest_error(parameters, expected, 0.1), 0, 3e-7);
    }
  }
}

TEST("fuse: the paper's table by hand") {
  const std::vector<float> start{10, 20, 30, 40}, in{1, 2, 3, 4}, out{0.5f, 0.25f, 0.125f, 0.75f};
  const std::vector<uint8_t> mask_in{0, 1, 0, 1}, mask_out{0, 0, 1, 1};
  std::vector<float> parameters(4);
  fuse(4, start.data(), in.data(), out.data(), mask_in.data(), mask_out.data(), kPaper, parameters.data());
  CHECK(parameters == (std::vector<float>{10, 22, 30.125f, 44.75f}));
}

TEST("fuse: in place gives the same bits, as does another number of threads") {
  for (int64_t n : lengths()) {
    const Task task(n);
    std::vector<float> apart(n), in_place = task.start;
    const auto run = [&](const float* start, float* parameters) {
      return fuse(n, start, task.tau_in.data(), task.tau_out.data(), task.mask_in.data(), task.mask_out.data(),
                  kPublishedCode, parameters);
    };
    FusionCounts one{}, two{};
    with_threads(1, [&] { one = run(task.start.data(), apart.data()); });
    with_threads(2, [&] { two = run(in_place.data(), in_place.data()); });
    CHECK(one == two);
    CHECK(same_bits(apart, in_place));
  }
}

TEST("fuse_adaptive: equals the softmax in double precision, at temperatures whose exponentials overflow as well") {
  for (int64_t n : lengths()) {
    if (n == 1) continue;
    const Task task(n);
    for (float temperature : {1.0f, 0.1f, 0.001f}) {
      std::vector<float> parameters(n), weight_in(n), weight_out(n);
      CHECK(fuse_adaptive(n, task.start.data(), task.tau_in.data(), task.tau_out.data(), task.score_in.data(),
                          task.score_out.data(), temperature, parameters.data(), weight_in.data(), weight_out.data()));
      const Adaptive expected = adaptive_reference(task, temperature);
      CHECK_NEAR(largest_error(weight_in, expected.weight_in, 1e-30), 0, 2e-7);
      CHECK_NEAR(largest_error(weight_out, expected.weight_out, 1e-30), 0, 2e-7);
      CHECK_NEAR(largest_error(parameters, expected.parameters, 0.1), 0, 3e-7);
    }
  }
}

TEST("fuse_adaptive: without weights, in place and with other threads the same bits") {
  const int64_t n = 3'000'017;
  const Task task(n);
  std::vector<float> apart(n), weight_in(n), weight_out(n), in_place = task.start;
  with_threads(1, [&] {
    fuse_adaptive(n, task.start.data(), task.tau_in.data(), task.tau_out.data(), task.score_in.data(),
                  task.score_out.data(), 0.5f, apart.data(), weight_in.data(), weight_out.data());
  });
  with_threads(2, [&] {
    fuse_adaptive(n, in_place.data(), task.tau_in.data(), task.tau_out.data(), task.score_in.data(),
                  task.score_out.data(), 0.5f, in_place.data(), nullptr, nullptr);
  });
  CHECK(same_bits(apart, in_place));
}

TEST("fuse_adaptive: scores that are not finite or all equal leave parameters = start") {
  const int64_t n = 65537;
  const auto refused = [&](const Task& task) {
    std::vector<float> parameters(n, 7);
    const bool fused =
        fuse_adaptive(n, task.start.data(), task.tau_in.data(), task.tau_out.data(), task.score_in.data(),
                      task.score_out.data(), 1, parameters.data(), nullptr, nullptr);
    return !fused && same_bits(parameters, task.start);
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
  task.score_out.assign(n, 0.25f);
  CHECK(refused(task));
  // Zeros of both signs are equal.
  task.score_out.assign(n, 0.0f);
  task.score_out[5] = -0.0f;
  CHECK(refused(task));
  task.score_out[6] = 1e-45f;
  CHECK(!refused(task));
}

TEST("fuse_adaptive: refuses a temperature that is not above 0") {
  const Task task(7);
  std::vector<float> parameters(7);
  for (float temperature : {0.0f, -1.0f, kNaN, kInfinity}) {
    CHECK_THROWS(fuse_adaptive(7, task.start.data(), task.tau_in.data(), task.tau_out.data(), task.score_in.data(),
                               task.score_out.data(), temperature, parameters.data(), nullptr, nullptr),
                 std::invalid_argument, "temperature");
  }
}
