#include "models/head.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include "kernels/vocabulary.h"
#include "models/autograd.h"
#include "models/profile.h"

namespace rkif {
namespace {

// On a GPU. Of a bf16 weight: of x rounded to bf16, with fp32 sums that stay fp32.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight) {
  if (weight.scalar_type() == at::kFloat) return at::mm(x, weight);
  return at::mm(x.to(weight.scalar_type()), weight, at::kFloat);
}

at::Tensor logits_of(const at::Tensor& states, const at::Tensor& weight, bool narrow) {
  NamedWork work("rkif::vocabulary");
  at::Tensor in = states.contiguous();
  if (!in.device().is_cpu()) return product(in, weight.t());
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
    if (!gradient.device().is_cpu()) return {product(gradient, weight), at::Tensor(), at::Tensor()};
    at::Tensor to_states = at::empty({gradient.size(0), weight.size(1)}, gradient.options());
    vocabulary_gradient(gradient.size(0), weight.size(0), weight.size(1), gradient.const_data_ptr<float>(),
                        weight.const_data_ptr<float>(), narrow, to_states.mutable_data_ptr<float>());
    return {to_states, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor vocabulary_head(const at::Tensor& states, const Linear& head, BaseType base) {
  if (tracks(head.weight)) return linear(states, head);
  if (tracks(states)) {
    const bool narrow = base == BaseType::kBFloat16;
    // The CPU's kernels round as they read, and need no copy.
    const bool copy = narrow && !states.device().is_cpu();
    return HeadFunction::apply(states, copy ? head.rounded() : head.weight, narrow);
  }
  return logits_of(states, head.weight, false);
}

}  // namespace rkif
