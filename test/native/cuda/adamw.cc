#include "kernels/cuda/adamw.h"

#include "kernels/cuda/importance.h"
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
      const Norm norm{3.7, 0};
      State expected(n);
      const ImportanceUpdate update{expected.importance.data(), expected.uncertainty.data(),
                                    masked ? expected.mask.data() : nullptr, kDecay, after};
      adamw_step(n, expected.w.data(), expected.g.data(), expected.m.data(), expected.v.data(),
                 std::isinf(max_norm) ? 1 : clip_factor(norm.norm, max_norm), options(variant + 1),
                 variant > 0 ? &update : nullptr);
      for (const auto& [offset, other] : {std::array{0, 0}, std::array{1, 5}, std::array{2, 3}}) {
        emulation::set_order(offset);
        Slices slices(State(n), offset, other);
        const ImportanceUpdate importance = update_of(slices, masked, after);
        cuda::adamw_step(context, n, slices.w.data(), slices.g.data(), slices.m.data(), slices.v.data(), &norm,
                         max_norm, options(variant + 1), variant > 0 ? &importance : nullptr);
        CHECK(slices.holds(expected));
      }
    }
  }
  emulation::set_order(0);
}

TEST("cuda adamw: writes nothing where the gradient is not finite; refuses updates below 1") {
  const cuda::Context context = cuda_context();
  const Norm norm{1, 1};
  const State state(1000);
  Slices slices(state, 0, 0);
  const ImportanceUpdate importance = update_of(slices, false, false);
  const auto step = [&](int64_t update) {
    cuda::adamw_step(context, 1000, slices.w.data(), slices.g.data(), slices.m.data(), slices.v.data(), &norm, 1,
                     options(update), &importance);
  };
  step(1);
  CHECK(slices.holds(state));
  CHECK_THROWS(step(0), std::invalid_argument, "counted from 1");
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
