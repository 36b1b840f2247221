// nvcc: -fmad=false
#include "kernels/cuda/rotate.h"
#include "kernels/cuda/row_share.h"

namespace rkif::cuda {
namespace {

struct Rotation {
  int64_t heads;
  int64_t head_size;
  const float* x;
  const int32_t* positions;
  const float* cosine;
  const float* sine;
  float sign;
  float* out;
};

// kWidth pairs of elements at once. Both halves are read before they are written: `out` may be `x`.
template <int kWidth>
__global__ void __launch_bounds__(256) rotate_pairs(int64_t packs, Rotation rotation) {
  const int64_t half = rotation.head_size / 2;
  const int64_t packs_of_row = rotation.heads * (half / kWidth);
  for (int64_t i = grid_index(); i < packs; i += grid_size()) {
    const int64_t row = i / packs_of_row;
    const unsigned in_row = static_cast<unsigned>(i - row * packs_of_row);
    const unsigned packs_of_head = static_cast<unsigned>(half / kWidth), head = in_row / packs_of_head;
    const int64_t element = int64_t{in_row - head * packs_of_head} * kWidth;
    const int64_t at = (row * rotation.heads + head) * rotation.head_size + element;
    const int64_t turn = rotation.positions[row] * half + element;
    const auto a = load_wide<kWidth>(rotation.x + at), b = load_wide<kWidth>(rotation.x + at + half);
    const auto c = load_wide<kWidth>(rotation.cosine + turn), sines = load_wide<kWidth>(rotation.sine + turn);
    Wide<float, kWidth> first, second;
    RKIF_UNROLL
    for (int j = 0; j < kWidth; ++j) {
      const float s = rotation.sign * sines.at[j];
      first.at[j] = a.at[j] * c.at[j] - b.at[j] * s;
      second.at[j] = b.at[j] * c.at[j] + a.at[j] * s;
    }
    store_wide(first, rotation.out + at);
    store_wide(second, rotation.out + at + half);
  }
}

}  // namespace

void rotate_rows(const Context& context, int64_t rows, int64_t heads, int64_t head_size, const float* x,
                 const int32_t* positions, const float* cosine, const float* sine, bool inverse, float* out) {
  const int64_t half = head_size / 2, pairs = rows * heads * half;
  if (pairs == 0) return;
  const Rotation rotation{heads, head_size, x, positions, cosine, sine, inverse ? -1.0f : 1.0f, out};
  const bool wide = half % 4 == 0 && head_size % 4 == 0 && allow_wide(4, x, cosine, sine, out);
  const int64_t packs = wide ? pairs / 4 : pairs;
  launch(context, "rotate_rows", grid_for(context, packs, 256, 32), 256, 0, wide ? rotate_pairs<4> : rotate_pairs<1>,
         packs, rotation);
}

}  // namespace rkif::cuda
