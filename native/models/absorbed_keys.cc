#include "models/absorbed_keys.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "models/device.h"
#include "models/profile.h"

namespace rkif {

AbsorbedKeys::AbsorbedKeys(const Linear& keys, const Linear& values, int64_t heads)
    : heads_(heads), keys_(keys.dense().contiguous()), values_(values.dense().contiguous()) {
  TORCH_CHECK(!keys.bias.defined() && !values.bias.defined(), "absorbed keys: layers with a bias");
}

HeadWeights AbsorbedKeys::weights(const at::Tensor& of) const {
  HeadWeights weights{heads_, of.size(0) / heads_, of.size(1)};
  weights.w = of.const_data_ptr<float>();
  weights.row = weights.column = weights.width;
  return weights;
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

at::Tensor AbsorbedKeys::queries(const at::Tensor& q) const {
  NamedWork work(kHeadProducts);
  const at::Tensor in = q.contiguous();
  at::Tensor queries = at::empty({in.size(0), heads_ * keys_.size(1)}, in.options());
  spread_heads(weights(keys_), in.size(0), in.const_data_ptr<float>(), queries.mutable_data_ptr<float>());
  return queries;
}

at::Tensor AbsorbedKeys::values(const at::Tensor& mixed) const {
  NamedWork work(kHeadProducts);
  const at::Tensor in = mixed.contiguous();
  at::Tensor values = at::empty({in.size(0), values_.size(0)}, in.options());
  gather_heads(weights(values_), in.size(0), in.const_data_ptr<float>(), values.mutable_data_ptr<float>());
  return values;
}

}  // namespace rkif
