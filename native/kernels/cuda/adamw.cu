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

// What one thread works out for all.
struct Factors {
  AdamWCoefficients coefficients;
  float clip;
};

__global__ void begin_update(AdamW options, double max_norm, const StepReport* after, StepReport* report,
                             Factors* factors) {
  const int64_t number = count_update(options.update, after, *report);
  *factors = {adamw_coefficients(options, number), clip_factor(report->gradient.norm, max_norm)};
}

template <Importance kImportance>
__global__ void __launch_bounds__(kThreads, kBlocks)
    step(Range range, Vectors to, const StepReport* report, const Factors* factors, ImportanceUpdate update) {
  if (!report->applied) return;
  const AdamWCoefficients c = factors->coefficients;
  const float clip = factors->clip;
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

// One block: a step has few labels beside everything else it has.
__global__ void __launch_bounds__(kThreads) sum_losses(int64_t n, const float* log_probabilities, StepReport* report) {
  __shared__ double partial[kThreads / kWarp];
  double sum = 0;
  for (int64_t i = static_cast<int64_t>(threadIdx.x); i < n; i += kThreads) sum -= log_probabilities[i];
  sum = block_sum(sum, partial);
  if (threadIdx.x == 0) report->loss_sum += sum;
}

}  // namespace

void adamw_step(const Context& context, int64_t n, float* weights, const float* gradients, float* m, float* v,
                double max_norm, const AdamW& options, const ImportanceUpdate* importance, const StepReport* after,
                StepReport* report) {
  check_update(options);
  const Scratch<Factors> factors(context, 1);
  launch(context, "begin_update", 1, 1, 0, begin_update, options, max_norm, after, report, factors.data());
  if (n == 0) return;
  const ImportanceUpdate update = importance ? *importance : ImportanceUpdate{};
  const Range range = wide_range<4>(n, weights, gradients, m, v, update.importance, update.uncertainty, update.mask);
  const auto kernel = !importance    ? step<Importance::kNone>
                      : update.after ? step<Importance::kAfter>
                                     : step<Importance::kBefore>;
  launch(context, "adamw_step", grid_for(context, n, kThreads * 4, kBlocks), kThreads, 0, kernel, range,
         Vectors{weights, gradients, m, v}, report, factors.data(), update);
}

void add_losses(const Context& context, int64_t n, const float* log_probabilities, StepReport* report) {
  launch(context, "add_losses", 1, kThreads, 0, sum_losses, n, log_probabilities, report);
}

}  // namespace rkif::cuda
