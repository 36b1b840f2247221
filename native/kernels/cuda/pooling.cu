#include <cmath>

#include "kernels/cuda/grid.h"
#include "kernels/cuda/pooling.h"
#include "kernels/cuda/unroll.h"

namespace rkif::cuda {
namespace {

constexpr int kMostThreads = 512;
// Blocks that share the rows of a text when its gradient is written.
constexpr unsigned kShares = 8;

__device__ inline float at_least_shortest(float length) { return length > kShortestMean ? length : kShortestMean; }

// A block a text, a thread a column: rows are read side by side, and summed in their order.
__global__ void __launch_bounds__(kMostThreads)
    mean_rows(PackedTexts texts, int64_t columns, const float* states, float* out, float* lengths) {
  __shared__ float partial[kMostThreads / kWarp];
  for (int64_t i = blockIdx.x; i < texts.count; i += gridDim.x) {
    const int64_t begin = texts.starts[i], end = texts.starts[i + 1];
    const float share = 1.0f / static_cast<float>(end - begin);
    float* mean = out + i * columns;
    float squares = 0;
    for (int64_t j = threadIdx.x; j < columns; j += blockDim.x) {
      float sum = 0;
      RKIF_UNROLL_BY(8)
      for (int64_t row = begin; row < end; ++row) sum += states[row * columns + j];
      sum *= share;
      squares += sum * sum;
      mean[j] = sum;
    }
    const float length = std::sqrt(block_sum(squares, partial));
    const float inverse = 1.0f / at_least_shortest(length);
    for (int64_t j = threadIdx.x; j < columns; j += blockDim.x) mean[j] *= inverse;
    if (lengths != nullptr && threadIdx.x == 0) lengths[i] = length;
  }
}

__global__ void __launch_bounds__(kMostThreads)
    mean_rows_gradient(PackedTexts texts, int64_t columns, const float* out, const float* lengths, const float* g,
                       float* dstates) {
  __shared__ float partial[kMostThreads / kWarp];
  for (int64_t i = blockIdx.x; i < texts.count; i += gridDim.x) {
    const int64_t begin = texts.starts[i], end = texts.starts[i + 1];
    const float* unit = out + i * columns;
    const float* gradient = g + i * columns;
    float product = 0;
    for (int64_t j = threadIdx.x; j < columns; j += blockDim.x) product += unit[j] * gradient[j];
    product = block_sum(product, partial);
    // A vector too short to be scaled to length 1 was divided by a constant.
    const float along = lengths[i] > kShortestMean ? product : 0.0f;
    const float factor = 1.0f / (at_least_shortest(lengths[i]) * static_cast<float>(end - begin));
    for (int64_t j = threadIdx.x; j < columns; j += blockDim.x) {
      const float value = (gradient[j] - unit[j] * along) * factor;
      for (int64_t row = begin + blockIdx.y; row < end; row += gridDim.y) dstates[row * columns + j] = value;
    }
  }
}

unsigned threads_for(int64_t columns) {
  return static_cast<unsigned>(columns < kMostThreads ? divide_up(columns, kWarp) * kWarp : kMostThreads);
}

}  // namespace

void mean_unit_vectors(const Context& context, const PackedTexts& texts, int64_t columns, const float* states,
                       float* out, float* lengths) {
  if (texts.count == 0 || columns == 0) return;
  launch(context, "mean_unit_vectors", grid_for(context, texts.count, 1, 16), threads_for(columns), 0, mean_rows, texts,
         columns, states, out, lengths);
}

void mean_unit_vectors_gradient(const Context& context, const PackedTexts& texts, int64_t columns, const float* out,
                                const float* lengths, const float* g, float* dstates) {
  if (texts.count == 0 || columns == 0) return;
  launch(context, "mean_unit_vectors_gradient", dim3(grid_for(context, texts.count, 1, 16), kShares),
         threads_for(columns), 0, mean_rows_gradient, texts, columns, out, lengths, g, dstates);
}

}  // namespace rkif::cuda
