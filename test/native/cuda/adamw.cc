#include "kernels/cuda/adamw.h"

#include "kernels/cuda/importance.h"
#include "kernels/kernels.h"
#include "slices.h"

using namespace rkif;
using namespace rkif::test;

namespace {

const ImportanceDecay kDecay{0.55, 0.85};

AdamW options(int64_t update) {
  return {.learning_rate = 3e-3, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.01, .update = update};
}

struct State {
  explicit State(int64_t n)
      : w(normal(n, 1)),
        g(normal(n, 2)),
        m(normal(n, 3)),
        v(scores(n, 4)),
        importance(scores(n, 5)),
        uncertainty(scores(n, 6)),
        mask(bits(n, 7)) {}
  std::vector<float> w, g, m, v, importance, uncertainty;
  std::vector<uint8_t> mask;
};

struct Slices {
  Slices(const State& state, int offset, int other)
      : w(state.w, offset),
        g(state.g, offset),
        m(state.m, offset),
        v(state.v, offset),
        importance(state.importance, offset),
        uncertainty(state.uncertainty, offset),
        mask(state.mask, other) {}
  Slice<float> w, g, m, v, importance, uncertainty;
  Slice<uint8_t> mask;

  bool holds(const State& state) {
    return same_bits(w.values(), state.w) && same_bits(m.values(), state.m) && same_bits(v.values(), state.v) &&
           same_bits(importance.values(), state.importance) && same_bits(uncertainty.values(), state.uncertainty);
  }
};

ImportanceUpdate update_of(Slices& slices, bool masked, bool after) {
  return {slices.importance.data(), slices.uncertainty.data(), masked ? slices.mask.data() : nullptr, kDecay, after};
}

}  // namespace

TEST("cuda adamw: the CPU's bits, with importance before and after, masked, clipped, whatever the alignment") {
  const cuda::Context context = cuda_context();
  for (int64_t n : cuda_lengths()) {
    for (int variant = 0; variant < 5; ++variant) {  // without importance; before, after; the same masked
      const bool masked = variant > 2, after = variant % 2 == 0;
      const double max_norm = variant % 2 ? 1.0 : std::numeric_limits<double>::infinity();
      const StepReport before{.loss_sum = 5, .gradient = {3.7, 0}};
      const StepReport last{.updates = variant};
      State expected(n);
      const ImportanceUpdate update{expected.importance.data(), expected.uncertainty.data(),
                                    masked ? expected.mask.data() : nullptr, kDecay, after};
      adamw_step(n, expected.w.data(), expected.g.data(), expected.m.data(), expected.v.data(),
                 std::isinf(max_norm) ? 1 : clip_factor(before.gradient.norm, max_norm), options(variant + 1),
                 variant > 0 ? &update : nullptr);
      for (const auto& [offset, other] : {std::array{0, 0}, std::array{1, 5}, std::array{2, 3}}) {
        emulation::set_order(offset);
        Slices slices(State(n), offset, other);
        const ImportanceUpdate importance = update_of(slices, masked, after);
        StepReport report = before;
        const bool counted = variant % 2 == 0;  // by the last step's report, or by the host
        cuda::adamw_step(context, n, slices.w.data(), slices.g.data(), slices.m.data(), slices.v.data(), max_norm,
                         options(counted ? 1 : variant + 1), variant > 0 ? &importance : nullptr,
                         counted ? &last : nullptr, &report);
        CHECK(slices.holds(expected));
        CHECK(report.applied == 1 && report.updates == variant + 1);
      }
    }
  }
  emulation::set_order(0);
}

TEST("cuda adamw: writes nothing where the gradient or the loss is not finite; refuses updates below 1") {
  const cuda::Context context = cuda_context();
  const State state(1000);
  Slices slices(state, 0, 0);
  const ImportanceUpdate importance = update_of(slices, false, false);
  const auto step = [&](int64_t update, StepReport report, const StepReport* after) {
    cuda::adamw_step(context, 1000, slices.w.data(), slices.g.data(), slices.m.data(), slices.v.data(), 1,
                     options(update), &importance, after, &report);
    return report;
  };
  const StepReport last{.updates = 7};
  for (const StepReport& given : {StepReport{.gradient = {1, 1}}, StepReport{.loss_sum = kNaN, .gradient = {1, 0}},
                                  StepReport{.loss_sum = kInfinity, .gradient = {1, 0}}}) {
    const StepReport first = step(3, given, nullptr), next = step(3, given, &last);
    CHECK(slices.holds(state));
    CHECK(first.applied == 0 && first.updates == 2 && next.applied == 0 && next.updates == 7);
  }
  CHECK_THROWS(step(0, {}, nullptr), std::invalid_argument, "counted from 1");
}

TEST("cuda losses: added to what the report holds, the same bits at every call") {
  const cuda::Context context = cuda_context();
  for (int64_t n : {0, 1, 31, 257, 5000}) {
    const std::vector<float> log_p = normal(n, 8);
    StepReport expected{.loss_sum = 2.5}, first = expected, second = expected;
    cpu_kernels().add_losses(n, log_p.data(), &expected);
    emulation::set_order(0);
    cuda::add_losses(context, n, log_p.data(), &first);
    emulation::set_order(1);
    cuda::add_losses(context, n, log_p.data(), &second);
    CHECK_NEAR(first.loss_sum, expected.loss_sum, 1e-12 * (1 + std::abs(expected.loss_sum)));
    CHECK(first.loss_sum == second.loss_sum && first.gradient.non_finite == 0);
  }
  emulation::set_order(0);
}

TEST("cuda importance: the CPU's bits, masked or not; a masked element keeps its bits whatever its gradient") {
  const cuda::Context context = cuda_context();
  for (int64_t n : cuda_lengths()) {
    for (bool masked : {false, true}) {
      State given(n);
      for (int64_t i = 0; masked && i < n; ++i) {
        if (!given.mask[i]) given.g[i] = kNaN;
      }
      State expected = given;
      update_importance(n, given.w.data(), given.g.data(), masked ? given.mask.data() : nullptr, kDecay,
                        expected.importance.data(), expected.uncertainty.data());
      for (const auto& [offset, other] : {std::array{0, 0}, std::array{1, 1}, std::array{0, 1}}) {
        emulation::set_order(offset);
        Slices slices(given, offset, other);
        cuda::update_importance(context, n, slices.w.data(), slices.g.data(), masked ? slices.mask.data() : nullptr,
                                kDecay, slices.importance.data(), slices.uncertainty.data());
        CHECK(slices.holds(expected));
      }
    }
  }
  emulation::set_order(0);
}
