#include <ATen/Parallel.h>

#include "kernels/clones.h"
#include "kernels/sum.h"

namespace rkif {
namespace {

template <int kCount, class T>
RKIF_INLINE void sum_range(int64_t n, const Parts<T>& given, int64_t begin, float* out) {
  const T* parts[kCount];
  for (int k = 0; k < kCount; ++k) parts[k] = given.at[k] + begin;
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < n; ++i) {
    out[begin + i] = part_sum(parts, i);
  }
}

// Templates cannot be cloned; this is the loop that is.
template <class T>
RKIF_INLINE void sum_any(int64_t n, const Parts<T>& parts, int64_t begin, float* out) {
  if (parts.count == 1) return sum_range<1>(n, parts, begin, out);
  if (parts.count == 2) return sum_range<2>(n, parts, begin, out);
  sum_range<3>(n, parts, begin, out);
}
RKIF_CLONES void sum_cloned(int64_t n, const Parts<float>& parts, int64_t begin, float* out) {
  sum_any(n, parts, begin, out);
}
RKIF_CLONES void sum_cloned(int64_t n, const Parts<Bfloat16>& parts, int64_t begin, float* out) {
  sum_any(n, parts, begin, out);
}

}  // namespace

template <class T>
void sum_parts(int64_t n, const Parts<T>& parts, float* out) {
  at::parallel_for(0, n, kParallelGrain,
                   [&](int64_t begin, int64_t end) { sum_cloned(end - begin, parts, begin, out); });
}

template void sum_parts(int64_t, const Parts<float>&, float*);
template void sum_parts(int64_t, const Parts<Bfloat16>&, float*);

}  // namespace rkif
