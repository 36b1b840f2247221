// nvcc: -fmad=false
#include "kernels/cuda/adamw.h"
#include "kernels/cuda/importance_averages.h"

namespace rkif::cuda {
namespace {

enum class Importance { kNone, kBefore, kAfter };

constexpr int kBlocks = 4;  // a multiprocessor's

struct Vectors {
  float* weights;
  const float* gradients;
  float* m;
  float* v;
};

template <int kWide, Importance kImportance>
struct Loaded {
  Floats<kWide> weights;
  Floats<kWide> gradients;
  Floats<kWide> m;
  Floats<kWide> v;
  Averages<kWide> averages;
};
template <int kWide>
struct Loaded<kWide, Importance::kNone> {
  Floats<kWide> weights;
  Floats<kWide> gradients;
  Floats<kWide> m;
  Floats<kWide> v;
};

template <Importance kImportance>
__global__ void __launch_bounds__(kThreads, kBlocks)
    step(Range range, Vectors to, const Norm* norm, double max_norm, AdamWCoefficients c, ImportanceUpdate update) {
  if (norm->non_finite > 0) return;
  const float clip = clip_factor(norm->norm, max_norm);
  for_each<4, 1>(
      range, grid_index(), grid_size(),
      [&](auto width, int64_t i) {
        constexpr int kWide = decltype(width)::value;
        Loaded<kWide, kImportance> x;
        x.weights = load_floats<kWide>(to.weights + i);
        x.gradients = load_floats<kWide>(to.gradients + i);
        x.m = load_floats<kWide>(to.m + i);
        x.v = load_floats<kWide>(to.v + i);
        if constexpr (kImportance != Importance::kNone) {
          x.averages = load_averages<kWide>(update.importance, update.uncertainty, update.mask, i);
        }
        return x;
      },
      [&](auto width, int64_t i, auto x) {
        constexpr int kWide = decltype(width)::value;
        RKIF_UNROLL
        for (float& gradient : x.gradients.at) gradient *= clip;
        if constexpr (kImportance == Importance::kBefore) {
          update_averages(x.weights, x.gradients, update.decay, x.averages, update.importance, update.uncertainty, i);
        }
        RKIF_UNROLL
        for (int j = 0; j < kWide; ++j) {
          adamw_element(c, x.gradients.at[j], x.weights.at[j], x.m.at[j], x.v.at[j]);
        }
        store_floats<kWide>(to.m + i, x.m);
        store_floats<kWide>(to.v + i, x.v);
        store_floats<kWide>(to.weights + i, x.weights);
        if constexpr (kImportance == Importance::kAfter) {
          update_averages(x.weights, x.gradients, update.decay, x.averages, update.importance, update.uncertainty, i);
        }
      });
}

}  // namespace

void adamw_step(const Context& context, int64_t n, float* weights, const float* gradients, float* m, float* v,
                const Norm* norm, double max_norm, const AdamW& options, const ImportanceUpdate* importance) {
  const AdamWCoefficients c = adamw_coefficients(options);
  if (n == 0) return;
  const ImportanceUpdate update = importance ? *importance : ImportanceUpdate{};
  const Range range = wide_range<4>(n, weights, gradients, m, v, update.importance, update.uncertainty, update.mask);
  const auto kernel = !importance    ? step<Importance::kNone>
                      : update.after ? step<Importance::kAfter>
                                     : step<Importance::kBefore>;
  launch(context, "adamw_step", grid_for(context, n, kThreads * 4, kBlocks), kThreads, 0, kernel, range,
         Vectors{weights, gradients, m, v}, norm, max_norm, c, update);
}

}  // namespace rkif::cuda
