#include <ATen/Parallel.h>

#include <algorithm>

#include "kernels/add_rows.h"
#include "kernels/clones.h"

namespace rkif {
namespace {

// Elements to give a thread at least: a small batch's rows are added before another thread would be awake.
constexpr int64_t kGrain = int64_t{1} << 19;

RKIF_CLONES void add_columns(int64_t begin, int64_t end, int64_t count, int64_t columns, const int32_t* ids,
                             const float* rows, float* into) {
  for (int64_t i = 0; i < count; ++i) {
    const float* from = rows + i * columns;
    float* to = into + ids[i] * columns;
    RKIF_ELEMENTWISE
    for (int64_t j = begin; j < end; ++j) to[j] += from[j];
  }
}

}  // namespace

void add_rows(int64_t count, int64_t columns, const int32_t* ids, const float* rows, float* into) {
  // Threads share the columns: every sum keeps its order.
  const int64_t grain = std::max<int64_t>(16, kGrain / std::max<int64_t>(1, count));
  at::parallel_for(0, columns, grain,
                   [&](int64_t begin, int64_t end) { add_columns(begin, end, count, columns, ids, rows, into); });
}

}  // namespace rkif
