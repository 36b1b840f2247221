// nvcc: -fmad=false
#include "kernels/cuda/importance.h"
#include "kernels/cuda/importance_averages.h"

namespace rkif::cuda {
namespace {

constexpr int kBlocks = 5;  // a multiprocessor's

template <int kWide>
struct Loaded {
  Floats<kWide> weights;
  Floats<kWide> gradients;
  Averages<kWide> averages;
};

__global__ void __launch_bounds__(kThreads, kBlocks)
    update(Range range, const float* weights, const float* gradients, const uint8_t* mask, ImportanceDecay decay,
           float* importance, float* uncertainty) {
  for_each<4, 1>(
      range, grid_index(), grid_size(),
      [&](auto width, int64_t i) {
        constexpr int kWide = decltype(width)::value;
        return Loaded<kWide>{load_floats<kWide>(weights + i), load_floats<kWide>(gradients + i),
                             load_averages<kWide>(importance, uncertainty, mask, i)};
      },
      [&](auto, int64_t i, const auto& x) {
        update_averages(x.weights, x.gradients, decay, x.averages, importance, uncertainty, i);
      });
}

}  // namespace

void update_importance(const Context& context, int64_t n, const float* weights, const float* gradients,
                       const uint8_t* mask, ImportanceDecay decay, float* importance, float* uncertainty) {
  if (n == 0) return;
  launch(context, "update_importance", grid_for(context, n, kThreads * 4, kBlocks), kThreads, 0, update,
         wide_range<4>(n, weights, gradients, mask, importance, uncertainty), weights, gradients, mask, decay,
         importance, uncertainty);
}

}  // namespace rkif::cuda
