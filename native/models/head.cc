#include "models/head.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include "kernels/vocabulary.h"
#include "models/autograd.h"
#include "models/profile.h"

namespace rkif {
namespace {

at::Tensor logits_of(const at::Tensor& states, const at::Tensor& weight, bool narrow) {
  NamedWork work("rkif::vocabulary");
  at::Tensor in = states.contiguous();
  if (!in.device().is_cpu()) return at::mm(in, weight.t());
  at::Tensor logits = at::empty({in.size(0), weight.size(0)}, in.options());
  vocabulary_logits(in.size(0), weight.size(0), weight.size(1), in.const_data_ptr<float>(),
                    weight.const_data_ptr<float>(), narrow, logits.mutable_data_ptr<float>());
  return logits;
}

struct HeadKept {
  at::Tensor weight;
  bool narrow;
};

// Of a frozen head.
struct HeadFunction : torch::autograd::Function<HeadFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& states, const at::Tensor& weight, bool narrow) {
    keep(context, HeadKept{weight, narrow});
    return logits_of(states, weight, narrow);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    NamedWork work("rkif::vocabulary");
    const auto [weight, narrow] = take<HeadKept>(context);
    at::Tensor gradient = gradients[0].contiguous();
    if (!gradient.device().is_cpu()) return {at::mm(gradient, weight), at::Tensor(), at::Tensor()};
    at::Tensor to_states = at::empty({gradient.size(0), weight.size(1)}, gradient.options());
    vocabulary_gradient(gradient.size(0), weight.size(0), weight.size(1), gradient.const_data_ptr<float>(),
                        weight.const_data_ptr<float>(), narrow, to_states.mutable_data_ptr<float>());
    return {to_states, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor vocabulary_head(const at::Tensor& states, const Linear& head, BaseType base) {
  if (tracks(head.weight)) return linear(states, head);
  if (tracks(states)) return HeadFunction::apply(states, head.weight, base == BaseType::kBFloat16);
  return logits_of(states, head.weight, false);
}

}  // namespace rkif
