#include "check.h"
#include "kernels/adamw.h"
#include "kernels/kernels.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

namespace {

const ImportanceDecay kDecay{0.55f, 0.85f};

// Everything in double, one element after the other, as the formulas read.
struct Reference {
  std::vector<double> w, m, v, importance, uncertainty;

  explicit Reference(const std::vector<float>& weights)
      : w(weights.begin(), weights.end()), m(w.size()), v(w.size()), importance(w.size()), uncertainty(w.size()) {}

  void update_importance(size_t i, double g) {
    const double a1 = kDecay.importance, a2 = kDecay.uncertainty;
    const double sensitivity = std::abs(w[i] * g);
    importance[i] = a1 * importance[i] + (1 - a1) * sensitivity;
    uncertainty[i] = a2 * uncertainty[i] + (1 - a2) * std::abs(sensitivity - importance[i]);
  }

  void step(size_t i, double g, const AdamW& o) {
    w[i] -= o.learning_rate * o.weight_decay * w[i];
    m[i] = o.beta1 * m[i] + (1 - o.beta1) * g;
    v[i] = o.beta2 * v[i] + (1 - o.beta2) * g * g;
    const double m_hat = m[i] / (1 - std::pow(o.beta1, o.update));
    const double v_hat = v[i] / (1 - std::pow(o.beta2, o.update));
    w[i] -= o.learning_rate * m_hat / (std::sqrt(v_hat) + o.epsilon);
  }
};

struct State {
  explicit State(int64_t n) : w(normal(n, 1)), m(n), v(n), importance(n), uncertainty(n) {}
  std::vector<float> w, m, v, importance, uncertainty;
  bool operator==(const State& other) const {
    return same_bits(w, other.w) && same_bits(m, other.m) && same_bits(v, other.v) &&
           same_bits(importance, other.importance) && same_bits(uncertainty, other.uncertainty);
  }
};

AdamW options(int64_t update) {
  return {.learning_rate = 1e-3 * static_cast<double>(update),
          .beta1 = 0.9,
          .beta2 = 0.999,
          .epsilon = 1e-8,
          .weight_decay = 0.01,
          .update = update};
}

ImportanceUpdate importance_of(State& state, bool after, const uint8_t* mask) {
  return {.importance = state.importance.data(),
          .uncertainty = state.uncertainty.data(),
          .mask = mask,
          .decay = kDecay,
          .after = after};
}

void steps(State& state, int64_t count, float scale, bool with_importance, bool after, const uint8_t* mask) {
  const int64_t n = state.w.size();
  const ImportanceUpdate update = importance_of(state, after, mask);
  for (int64_t t = 1; t <= count; ++t) {
    const std::vector<float> g = normal(n, 100 + t);
    adamw_step(n, state.w.data(), g.data(), state.m.data(), state.v.data(), scale, options(t),
               with_importance ? &update : nullptr);
  }
}

}  // namespace

TEST("adamw: ten steps equal the formula in double precision, without importance, before and after the step") {
  constexpr float kScale = 0.37f;
  for (int64_t n : lengths()) {
    const int64_t count = n > 100'000 ? 2 : 10;
    for (int variant = 0; variant < 3; ++variant) {
      State state(n);
      Reference expected(state.w);
      steps(state, count, kScale, variant > 0, variant == 2, nullptr);
      for (int64_t t = 1; t <= count; ++t) {
        const std::vector<float> g = normal(n, 100 + t);
        for (int64_t i = 0; i < n; ++i) {
          const double clipped = double{g[i]} * kScale;
          if (variant == 1) expected.update_importance(i, clipped);
          expected.step(i, clipped, options(t));
          if (variant == 2) expected.update_importance(i, clipped);
        }
      }
      // Relative to the size of the numbers that were added, as single elements may cancel.
      CHECK_NEAR(largest_error(state.w, expected.w, 1), 0, 1e-6);
      CHECK_NEAR(largest_error(state.m, expected.m, 0.1), 0, 1e-6);
      CHECK_NEAR(largest_error(state.v, expected.v, 1e-6), 0, 2e-6);
      CHECK_NEAR(largest_error(state.importance, expected.importance, 0.1), 0, 1e-6);
      CHECK_NEAR(largest_error(state.uncertainty, expected.uncertainty, 0.1), 0, 1e-6);
    }
  }
}

TEST("adamw: the first step moves every weight by the learning rate against its gradient's sign") {
  const std::vector<float> g{0.5f, -2, 1e-3f, 0};
  std::vector<float> w{1, 1, 1, 1}, m(4), v(4);
  const AdamW first{
      .learning_rate = 0.125, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-12, .weight_decay = 0, .update = 1};
  adamw_step(4, w.data(), g.data(), m.data(), v.data(), 1, first, nullptr);
  CHECK_NEAR(w[0], 0.875, 1e-6);
  CHECK_NEAR(w[1], 1.125, 1e-6);
  CHECK_NEAR(w[2], 0.875, 1e-6);
  CHECK_EQUAL(w[3], 1.0f);
  CHECK_NEAR(m[1], -0.2, 1e-7);
  CHECK_NEAR(v[1], 0.004, 1e-9);
}

TEST("adamw: weight decay alone multiplies by 1 - lr * decay; learning rate 0 keeps the weights") {
  std::vector<float> w{2, -3}, m(2), v(2);
  const std::vector<float> zero{0, 0}, g{1, 1};
  AdamW decay{.learning_rate = 0.5, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.5, .update = 1};
  adamw_step(2, w.data(), zero.data(), m.data(), v.data(), 1, decay, nullptr);
  CHECK(w == (std::vector<float>{1.5f, -2.25f}));
  decay.learning_rate = 0;
  adamw_step(2, w.data(), g.data(), m.data(), v.data(), 1, decay, nullptr);
  CHECK(w == (std::vector<float>{1.5f, -2.25f}));
  CHECK(m[0] > 0 && v[0] > 0);
}

TEST("adamw: the same bits with one and two threads") {
  for (int64_t n : lengths()) {
    State one(n), two(n);
    with_threads(1, [&] { steps(one, 2, 0.5f, true, true, nullptr); });
    with_threads(2, [&] { steps(two, 2, 0.5f, true, true, nullptr); });
    CHECK(one == two);
  }
}

TEST("adamw: importance in the pass equals update_importance before or after it") {
  for (int64_t n : lengths()) {
    const std::vector<uint8_t> mask = bits(n, 9);
    for (const uint8_t* used : {static_cast<const uint8_t*>(nullptr), mask.data()}) {
      for (bool after : {false, true}) {
        State fused(n), apart(n);
        steps(fused, 1, 0.5f, true, after, used);
        std::vector<float> clipped = normal(n, 101);
        for (float& g : clipped) g *= 0.5f;
        const auto update = [&] {
          update_importance(n, apart.w.data(), clipped.data(), used, kDecay, apart.importance.data(),
                            apart.uncertainty.data());
        };
        if (!after) update();
        steps(apart, 1, 0.5f, false, false, nullptr);
        if (after) update();
        CHECK(fused == apart);
      }
    }
  }
}

TEST("adamw: updates are counted from 1") {
  float w = 1, g = 1, m = 0, v = 0;
  CHECK_THROWS(adamw_step(1, &w, &g, &m, &v, 1, options(0), nullptr), std::invalid_argument, "counted from 1");
  CHECK_EQUAL(w, 1.0f);
}

TEST("clip_factor: min(1, max / (norm + 1e-6))") {
  CHECK_EQUAL(clip_factor(0.5, 1), 1.0f);
  CHECK_EQUAL(clip_factor(0, 1), 1.0f);
  CHECK_NEAR(clip_factor(4, 1), 0.24999994, 1e-8);
  CHECK_EQUAL(clip_factor(1, 1), static_cast<float>(1 / 1.000001));
  CHECK(std::isnan(clip_factor(kNaN, 1)));
  CHECK_EQUAL(clip_factor(kInfinity, 1), 0.0f);
}

TEST("importance: equals the formula in double precision over five updates, under a mask as well") {
  for (int64_t n : lengths()) {
    const int updates = n > 100'000 ? 2 : 5;
    const std::vector<float> w = normal(n, 1);
    const std::vector<uint8_t> mask = bits(n, 10);
    for (const uint8_t* used : {static_cast<const uint8_t*>(nullptr), mask.data()}) {
      std::vector<float> importance(n), uncertainty(n);
      Reference expected(w);
      for (int t = 0; t < updates; ++t) {
        const std::vector<float> g = normal(n, 200 + t);
        update_importance(n, w.data(), g.data(), used, kDecay, importance.data(), uncertainty.data());
        for (int64_t i = 0; i < n; ++i)
          if (!used || used[i]) expected.update_importance(i, g[i]);
      }
      CHECK_NEAR(largest_error(importance, expected.importance, 0.1), 0, 1e-6);
      CHECK_NEAR(largest_error(uncertainty, expected.uncertainty, 0.1), 0, 1e-6);
    }
  }
}

TEST("importance: worked by hand") {
  float w = -2, g = 3, importance = 4, uncertainty = 8;
  // I = 6; Ibar = 0.5 * 4 + 0.5 * 6 = 5; Ubar = 0.75 * 8 + 0.25 * |6 - 5| = 6.25
  update_importance(1, &w, &g, nullptr, {0.5f, 0.75f}, &importance, &uncertainty);
  CHECK_EQUAL(importance, 5.0f);
  CHECK_EQUAL(uncertainty, 6.25f);
}

TEST("importance: a masked element keeps its bits, whatever its gradient") {
  const int64_t n = 1000;
  const std::vector<float> w = normal(n, 1), g(n, kNaN);
  std::vector<uint8_t> mask(n, 0);
  mask[500] = 1;
  std::vector<float> importance = scores(n, 2), uncertainty = scores(n, 3);
  const std::vector<float> importance_before = importance, uncertainty_before = uncertainty;
  update_importance(n, w.data(), g.data(), mask.data(), kDecay, importance.data(), uncertainty.data());
  CHECK(std::isnan(importance[500]) && std::isnan(uncertainty[500]));
  importance[500] = importance_before[500];
  uncertainty[500] = uncertainty_before[500];
  CHECK(same_bits(importance, importance_before) && same_bits(uncertainty, uncertainty_before));
}

TEST("adamw: the powers of its bias corrections") {
  for (const double base : {0.9, 0.999}) {
    for (const int64_t n : {1, 2, 7, 100, 1000, 123457}) {
      CHECK_NEAR(1 - power(base, n), 1 - std::pow(base, static_cast<double>(n)), 1e-12);
    }
    CHECK_EQUAL(power(base, 1), base);
    CHECK_EQUAL(power(base, 0), 1.0);
  }
}

TEST("adamw: a step's report decides whether it is applied, and counts the updates of its optimizer") {
  std::vector<float> w{1, 2}, g{0.5f, -0.25f}, m(2), v(2);
  const auto step = [&](StepReport report, int64_t number, const StepReport* after) {
    cpu_kernels().adamw_step(2, w.data(), g.data(), m.data(), v.data(), 1, options(number), nullptr, after, &report);
    return report;
  };
  const StepReport finite{.gradient = {0.5, 0}}, first = step(finite, 1, nullptr);
  CHECK(first.applied == 1 && first.updates == 1 && w[0] < 1);
  const std::vector<float> kept = w;
  const StepReport skipped = step({.loss_sum = -std::log(0.0), .gradient = {0.5, 0}}, 1, &first);
  CHECK(skipped.applied == 0 && skipped.updates == 1 && same_bits(w, kept));
  // The number that the skipped step did not take.
  const StepReport second = step(finite, 1, &skipped);
  CHECK(second.applied == 1 && second.updates == 2);
  std::vector<float> other{1, 2};
  std::fill(m.begin(), m.end(), 0.0f);
  std::fill(v.begin(), v.end(), 0.0f);
  adamw_step(2, other.data(), g.data(), m.data(), v.data(), 1, options(1), nullptr);
  AdamW next = options(1);
  next.update = 2;
  adamw_step(2, other.data(), g.data(), m.data(), v.data(), 1, next, nullptr);
  CHECK(same_bits(w, other));
}
