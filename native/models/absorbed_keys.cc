#include "models/absorbed_keys.h"

#include <ATen/ops/bmm.h>

#include "models/profile.h"

namespace rkif {
namespace {

// [rows, heads * in] x [heads, in, out] -> [rows, heads * out]
at::Tensor times_by_head(const at::Tensor& x, const at::Tensor& matrices) {
  const int64_t rows = x.size(0), heads = matrices.size(0);
  return at::bmm(x.view({rows, heads, -1}).transpose(0, 1), matrices).transpose(0, 1).reshape({rows, -1});
}

}  // namespace

AbsorbedKeys::AbsorbedKeys(const Linear& keys, const Linear& values, int64_t heads) {
  TORCH_CHECK(!keys.bias.defined() && !values.bias.defined(), "absorbed keys: layers with a bias");
  const at::Tensor of_keys = keys.dense(), of_values = values.dense();
  const int64_t width = of_keys.size(1);
  keys_ = of_keys.view({heads, -1, width});
  values_ = of_values.view({heads, -1, width}).transpose(1, 2);
}

bool AbsorbedKeys::pays(int64_t queries, int64_t tokens, int64_t head_size, const at::Tensor& like) {
  // A GPU's attention takes no heads as wide as the states, and large products are what it does best.
  if (!like.device().is_cpu()) return false;
  // A state's keys and values take 2 * heads * head size * width multiply-adds, at twice the pace of attention's
  // 2 * heads * width for each query. Making the matrices takes as long as about 120 states' keys and values.
  return 2 * queries <= head_size && tokens >= 1024;
}

at::Tensor AbsorbedKeys::queries(const at::Tensor& q) const { return times_by_head(q, keys_); }

at::Tensor AbsorbedKeys::values(const at::Tensor& mixed) const { return times_by_head(mixed, values_); }

}  // namespace rkif
