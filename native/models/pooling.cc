#include "models/pooling.h"

#include <ATen/ops/empty.h>

#include <vector>

#include "models/autograd.h"
#include "models/device.h"

namespace rkif {
namespace {

struct PoolingKept {
  int64_t texts;
  int64_t tokens;
  at::Tensor starts;  // [texts + 1]
  at::Tensor out, lengths;

  PackedTexts packed() const { return {texts, starts.const_data_ptr<int32_t>()}; }
};

PoolingKept pooled(const at::Tensor& states, const Sequences& texts, bool with_lengths) {
  std::vector<int32_t> starts;
  for (int64_t start : texts.starts) starts.push_back(static_cast<int32_t>(start));
  starts.push_back(static_cast<int32_t>(texts.tokens));
  PoolingKept result{texts.count(),
                     texts.tokens,
                     index_tensor(starts, states),
                     at::empty({texts.count(), states.size(1)}, states.options()),
                     {}};
  if (with_lengths) result.lengths = at::empty({texts.count()}, states.options());
  kernels_of(states).mean_unit_vectors(result.packed(), states.size(1), states.const_data_ptr<float>(),
                                       result.out.mutable_data_ptr<float>(),
                                       with_lengths ? result.lengths.mutable_data_ptr<float>() : nullptr);
  return result;
}

struct PoolingFunction : torch::autograd::Function<PoolingFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& states, const Sequences& texts) {
    PoolingKept kept = pooled(states, texts, true);
    at::Tensor out = kept.out;
    kept.out = values_of(out);
    keep(context, std::move(kept));
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const PoolingKept kept = take<PoolingKept>(context);
    at::Tensor gradient = gradients[0].contiguous();
    at::Tensor to_states = at::empty({kept.tokens, kept.out.size(1)}, kept.out.options());
    kernels_of(gradient).mean_unit_vectors_gradient(
        kept.packed(), kept.out.size(1), kept.out.const_data_ptr<float>(), kept.lengths.const_data_ptr<float>(),
        gradient.const_data_ptr<float>(), to_states.mutable_data_ptr<float>());
    return {to_states, at::Tensor()};
  }
};

}  // namespace

at::Tensor mean_unit_vectors(const at::Tensor& states, const Sequences& texts) {
  at::Tensor in = states.contiguous();
  return tracks(in) ? PoolingFunction::apply(in, texts) : pooled(in, texts, false).out;
}

}  // namespace rkif
