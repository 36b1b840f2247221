// nvcc: -fmad=false
#include "kernels/cuda/dropout.h"
#include "kernels/cuda/masked_elements.h"

namespace rkif::cuda {
namespace {

__global__ void make_keys(int64_t rows, uint64_t site_key, const uint32_t* records, const uint32_t* positions,
                          DropoutRow* keys) {
  for (int64_t i = grid_index(); i < rows; i += grid_size()) {
    keys[i] = dropout_row(site_key, records[i], positions[i]);
  }
}

struct Drop {
  Masks masks;
  const float* in;
  float* out;

  template <int kWidth>
  __device__ void at(int64_t first) const {
    Wide<float, kWidth> values = load_wide<kWidth>(in + first);
    masks.apply(first, values.at);
    store_wide(values, out + first);
  }
};

}  // namespace

void dropout_keys(const Context& context, int64_t rows, uint64_t site_key, const uint32_t* records,
                  const uint32_t* positions, DropoutRow* keys) {
  if (rows == 0) return;
  launch(context, "dropout_keys", grid_for(context, rows, 256), 256, 0, make_keys, rows, site_key, records, positions,
         keys);
}

void dropout_rows(const Context& context, const MaskedMatrix& shape, const float* in, float* out) {
  const Masks masks(shape);
  if (masks.threshold == 0 && out == in) return;
  launch_elements<4>(context, "dropout_rows", shape, Drop{masks, in, out}, in, out);
}

}  // namespace rkif::cuda
