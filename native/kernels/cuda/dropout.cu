// nvcc: -fmad=false
#include "kernels/cuda/dropout.h"
#include "kernels/cuda/masked_elements.h"

namespace rkif::cuda {
namespace {

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

void dropout_rows(const Context& context, const MaskedMatrix& shape, const float* in, float* out) {
  const Masks masks(shape);
  if (masks.threshold == 0 && out == in) return;
  launch_elements<4>(context, "dropout_rows", shape, Drop{masks, in, out}, in, out);
}

}  // namespace rkif::cuda
