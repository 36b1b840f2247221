// The gradients of the norms' weights and biases: sums over rows.
#include "kernels/cuda/norms.h"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/row_share.h"

namespace rkif::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kTile = 128;  // columns of a block, four to a lane
constexpr int kResident = 3;

// Rows normalised as (x - mean) * r.
struct RmsRows {
  const float* inverse;
  static constexpr bool kHasBias = false;
  __device__ Moments moments(int64_t i) const { return {0.0f, inverse[i]}; }
};
struct LayerRows {
  const Moments* of_rows;
  static constexpr bool kHasBias = true;
  __device__ Moments moments(int64_t i) const { return of_rows[i]; }
};

// Partial sums of dweight, and of dbias where there is one, over the block's rows: [row blocks, columns] each.
template <class Rows, int kWidth>
__global__ void __launch_bounds__(kWarp* kWarps, kResident)
    sum_rows(int64_t rows, int64_t columns, int64_t rows_of_block, Rows normalised, const float* x, const float* g,
             float* dweight, float* dbias) {
  using Share = RowShare<kWarp, kWidth, 4 / kWidth>;
  __shared__ __align__(16) float of_warp[kWarps][kTile];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t first = int64_t{blockIdx.y} * kTile, left = columns - first;
  const int64_t begin = int64_t{blockIdx.x} * rows_of_block;
  const int64_t end = begin + rows_of_block < rows ? begin + rows_of_block : rows;

  Share weight{}, bias{};
  RKIF_UNROLL_BY(4)
  for (int64_t i = begin + warp; i < end; i += kWarps) {
    Share values, gradients;
    values.load(x + i * columns + first, left, lane);
    gradients.load(g + i * columns + first, left, lane);
    const Moments row = normalised.moments(i);
    RKIF_UNROLL
    for (int e = 0; e < 4; ++e) {
      weight.at[e] += gradients.at[e] * ((values.at[e] - row.mean) * row.inverse);
      bias.at[e] += gradients.at[e];
    }
  }
  const auto write = [&](const Share& sums, float* to) {
    sums.store(of_warp[warp], kTile, lane);
    __syncthreads();
    const int column = static_cast<int>(threadIdx.x);
    if (column < kTile && column < left) {
      float sum = of_warp[0][column];
      for (int other = 1; other < kWarps; ++other) sum += of_warp[other][column];
      to[blockIdx.x * columns + first + column] = sum;
    }
    __syncthreads();
  };
  write(weight, dweight);
  if constexpr (Rows::kHasBias) write(bias, dbias);
}

template <class Rows>
void add_sums(const Context& context, const char* name, int64_t rows, int64_t columns, const Rows& normalised,
              const float* x, const float* g, float* dweight, float* dbias) {
  if (rows == 0 || columns == 0) return;
  const int64_t tiles = divide_up(columns, kTile);
  const RowBlocks blocks(context, rows, tiles, kResident, 4 * kWarps);
  const Scratch<float> partials(context, blocks.count * columns * (Rows::kHasBias ? 2 : 1));
  float* of_bias = Rows::kHasBias ? partials.data() + blocks.count * columns : nullptr;
  const bool wide = columns % 4 == 0 && allow_wide(4, x, g);
  launch(context, name, dim3(static_cast<unsigned>(blocks.count), static_cast<unsigned>(tiles)), kWarp * kWarps, 0,
         wide ? sum_rows<Rows, 4> : sum_rows<Rows, 1>, rows, columns, blocks.rows, normalised, x, g, partials.data(),
         of_bias);
  launch_partial_sums(context, {blocks.count, 1, columns, partials.data()}, dweight);
  if (Rows::kHasBias) launch_partial_sums(context, {blocks.count, 1, columns, of_bias}, dbias);
}

}  // namespace

void add_rms_norm_weight_gradient(const Context& context, int64_t rows, int64_t columns, const float* x,
                                  const float* inverse, const float* g, float* dweight) {
  add_sums(context, "add_rms_norm_weight_gradient", rows, columns, RmsRows{inverse}, x, g, dweight, nullptr);
}

void add_layer_norm_parameter_gradients(const Context& context, int64_t rows, int64_t columns, const float* x,
                                        const Moments* moments, const float* g, float* dweight, float* dbias) {
  add_sums(context, "add_layer_norm_parameter_gradients", rows, columns, LayerRows{moments}, x, g, dweight, dbias);
}

}  // namespace rkif::cuda
