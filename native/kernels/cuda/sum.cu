#include "kernels/cuda/masked_elements.h"
#include "kernels/cuda/sum.h"

namespace rkif::cuda {
namespace {

template <class T>
struct SumParts {
  Parts<T> parts;
  float* out;

  template <int kWidth>
  __device__ void at(int64_t first) const {
    Wide<float, kWidth> sums;
    const Wide<T, kWidth> in = load_wide<kWidth>(parts.at[0] + first);
    RKIF_UNROLL
    for (int i = 0; i < kWidth; ++i) sums.at[i] = widened(in.at[i]);
    RKIF_UNROLL
    for (int k = 1; k < kMostParts; ++k) {
      if (k < parts.count) {
        const Wide<T, kWidth> more = load_wide<kWidth>(parts.at[k] + first);
        RKIF_UNROLL
        for (int i = 0; i < kWidth; ++i) sums.at[i] += widened(more.at[i]);
      }
    }
    store_wide(sums, out + first);
  }
};

}  // namespace

template <class T>
void sum_parts(const Context& context, int64_t n, const Parts<T>& parts, float* out) {
  // One row of what nothing is dropped of.
  launch_elements<4>(context, "sum_parts", MaskedMatrix{1, n}, SumParts<T>{parts, out}, parts.at[0], parts.at[1],
                     parts.at[2], out);
}

template void sum_parts(const Context&, int64_t, const Parts<float>&, float*);
template void sum_parts(const Context&, int64_t, const Parts<Bfloat16>&, float*);

}  // namespace rkif::cuda
