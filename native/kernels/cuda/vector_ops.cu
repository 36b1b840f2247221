// nvcc: -fmad=false
#include <cmath>

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/vector_ops.h"

namespace rkif::cuda {
namespace {

constexpr int kUnroll = 2;
constexpr int kMapBlocks = 6;  // a multiprocessor's

template <int kInputs>
struct Inputs {
  const float* at[kInputs];
};

struct Difference {
  __device__ float operator()(const float (&x)[2]) const { return x[0] - x[1]; }
};
struct AddScaled {
  float scale;
  __device__ float operator()(const float (&x)[2]) const { return x[0] + scale * x[1]; }
};
struct AddProduct {
  float scale;
  __device__ float operator()(const float (&x)[3]) const { return x[0] + scale * x[1] * x[2]; }
};
struct Scale {
  float factor;
  __device__ float operator()(const float (&x)[1]) const { return x[0] * factor; }
};
struct Product {
  __device__ float operator()(const float (&x)[2]) const { return x[0] * x[1]; }
};

template <int kInputs, int kWide>
struct Loaded {
  Floats<kWide> of[kInputs];
};

template <int kInputs, class Function>
__global__ void __launch_bounds__(kThreads, kMapBlocks)
    map(Range range, Inputs<kInputs> inputs, Function function, float* out) {
  const auto load = [&](auto width, int64_t i) {
    constexpr int kWide = decltype(width)::value;
    Loaded<kInputs, kWide> x;
    RKIF_UNROLL
    for (int k = 0; k < kInputs; ++k) x.of[k] = load_floats<kWide>(inputs.at[k] + i);
    return x;
  };
  const auto finish = [&](auto width, int64_t i, const auto& x) {
    constexpr int kWide = decltype(width)::value;
    Floats<kWide> y;
    RKIF_UNROLL
    for (int j = 0; j < kWide; ++j) {
      float element[kInputs];
      RKIF_UNROLL
      for (int k = 0; k < kInputs; ++k) element[k] = x.of[k].at[j];
      y.at[j] = function(element);
    }
    store_floats<kWide>(out + i, y);
  };
  for_each<4, kUnroll>(range, grid_index(), grid_size(), load, finish);
}

template <class Function, class... In>
void run(const Context& context, const char* name, int64_t n, Function function, float* out, const In*... in) {
  if (n == 0) return;
  const unsigned blocks = grid_for(context, n, kThreads * 4 * kUnroll, kMapBlocks);
  launch(context, name, blocks, kThreads, 0, map<sizeof...(In), Function>, wide_range<4>(n, out, in...),
         Inputs<sizeof...(In)>{{in...}}, function, out);
}

// --- norm

constexpr int kNormUnroll = 4;
constexpr int kNormBlocks = 4;

// One block's share.
struct SquareSum {
  double sum;
  int64_t non_finite;
};

__device__ SquareSum block_sum_of(double sum, int64_t non_finite) {
  __shared__ double sums[kThreads / kWarp];
  __shared__ int64_t counts[kThreads / kWarp];
  const double total = block_sum(sum, sums);
  return {total, block_sum(non_finite, counts)};
}

__global__ void __launch_bounds__(kThreads, kNormBlocks) square_sums(Range range, const float* x, SquareSum* parts) {
  double sum = 0;
  int64_t non_finite = 0;
  for_each<4, kNormUnroll>(
      range, grid_index(), grid_size(),
      [&](auto width, int64_t i) { return load_floats<decltype(width)::value>(x + i); },
      [&](auto width, int64_t, const auto& values) {
        RKIF_UNROLL
        for (float value : values.at) {
          const bool finite = (__float_as_uint(value) & 0x7f800000u) != 0x7f800000u;
          // The square of an fp32 number is exact in double, and finite: it may as well be fused.
          const double term = finite ? value : 0.0f;
          sum = std::fma(term, term, sum);
          non_finite += finite ? 0 : 1;
        }
      });
  const SquareSum all = block_sum_of(sum, non_finite);
  if (threadIdx.x == 0) parts[blockIdx.x] = all;
}

// One block.
__global__ void __launch_bounds__(kThreads) finish_norm(int parts_count, const SquareSum* parts, Norm* result) {
  double sum = 0;
  int64_t non_finite = 0;
  for (int i = static_cast<int>(threadIdx.x); i < parts_count; i += kThreads) {
    sum += parts[i].sum;
    non_finite += parts[i].non_finite;
  }
  const SquareSum all = block_sum_of(sum, non_finite);
  if (threadIdx.x == 0) {
    result->norm = std::sqrt(all.sum);
    result->non_finite = all.non_finite;
  }
}

}  // namespace

void difference(const Context& context, int64_t n, const float* a, const float* b, float* out) {
  run(context, "difference", n, Difference{}, out, a, b);
}

void add_scaled(const Context& context, int64_t n, float* x, const float* y, float scale) {
  run(context, "add_scaled", n, AddScaled{scale}, x, x, y);
}

void add_product(const Context& context, int64_t n, float* x, const float* a, const float* b, float scale) {
  run(context, "add_product", n, AddProduct{scale}, x, x, a, b);
}

void scale(const Context& context, int64_t n, float* x, float factor) { run(context, "scale", n, Scale{factor}, x, x); }

void product(const Context& context, int64_t n, const float* a, const float* b, float* out) {
  run(context, "product", n, Product{}, out, a, b);
}

void norm(const Context& context, int64_t n, const float* x, Norm* result) {
  const unsigned blocks = grid_for(context, n, kThreads * 4 * kNormUnroll, kNormBlocks);
  const Scratch<SquareSum> parts(context, blocks);
  launch(context, "square_sums", blocks, kThreads, 0, square_sums, wide_range<4>(n, x), x, parts.data());
  launch(context, "finish_norm", 1, kThreads, 0, finish_norm, static_cast<int>(blocks), parts.data(), result);
}

}  // namespace rkif::cuda
