#include "models/absorbed_keys.h"

#include <ATen/Parallel.h>
#include <ATen/ops/bmm.h>

#include <algorithm>

#include "models/device.h"

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

bool AbsorbedKeys::pays(const Work& work, int64_t head_size, int64_t width, const at::Tensor& like) {
  // A GPU's attention takes no heads as wide as the states, and large products are what it does best.
  if (!reads_host_memory(like.device())) return false;
  // Heads that share their keys are one thread's.
  if (work.sequences < at::get_num_threads()) return false;
  // Making the matrices takes as long as about 120 states' keys and values, and they are as large as those of `width`
  // states.
  if (work.states < std::max<int64_t>(1024, 2 * width)) return false;
  // By sequence, in units of heads * width multiply-adds: keys and values take 2 * states * head_size; queries and
  // mixtures 2 * queries * head_size, and attention 2 * queries * states, at half of the pace. Twice as much pays.
  const int64_t states = work.states / work.sequences;
  return 2 * work.queries * (head_size + 2 * states) <= states * head_size;
}

at::Tensor AbsorbedKeys::queries(const at::Tensor& q) const { return times_by_head(q, keys_); }

at::Tensor AbsorbedKeys::values(const at::Tensor& mixed) const { return times_by_head(mixed, values_); }

}  // namespace rkif
