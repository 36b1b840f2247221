#include "models/head.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include "kernels/matmul_narrow.h"
#include "kernels/vocabulary.h"
#include "models/autograd.h"
#include "models/device.h"
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
  const int64_t rows = in.size(0), vocabulary = weight.size(0), width = weight.size(1);
  at::Tensor logits = at::empty({rows, vocabulary}, in.options());
  const float* x = in.const_data_ptr<float>();
  float* out = logits.mutable_data_ptr<float>();
  if (weight.scalar_type() == at::kBFloat16) {
    vocabulary_logits(rows, vocabulary, width, x, bfloat16_values(weight), out);
  } else {
    vocabulary_logits(rows, vocabulary, width, x, weight.const_data_ptr<float>(), narrow, out);
  }
  return logits;
}

at::Tensor gradient_of(const at::Tensor& given, const at::Tensor& weight, bool narrow) {
  NamedWork work("rkif::vocabulary");
  at::Tensor gradient = given.contiguous();
  if (!gradient.device().is_cpu()) return product(gradient, weight);
  const int64_t rows = gradient.size(0), vocabulary = weight.size(0), width = weight.size(1);
  at::Tensor to_states = at::empty({rows, width}, gradient.options());
  const float* g = gradient.const_data_ptr<float>();
  float* out = to_states.mutable_data_ptr<float>();
  if (weight.scalar_type() == at::kBFloat16) {
    vocabulary_gradient(rows, vocabulary, width, g, bfloat16_values(weight), out);
  } else {
    vocabulary_gradient(rows, vocabulary, width, g, weight.const_data_ptr<float>(), narrow, out);
  }
  return to_states;
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
    const auto [weight, narrow] = take<HeadKept>(context);
    return {gradient_of(gradients[0], weight, narrow), at::Tensor(), at::Tensor()};
  }
};

// Whether a step that trains reads a copy of the head in bf16. The CPU's kernels can round as they read.
bool reads_copy(const Linear& head, const ModelOptions& options) {
  if (!options.device.is_cpu()) return true;
  return options.prepack && multiplies_bfloat16() && head.weight.size(1) % 2 == 0;
}

}  // namespace

at::Tensor vocabulary_head(const at::Tensor& states, const Linear& head, const ModelOptions& options) {
  if (tracks(head.weight)) return linear(states, head);
  if (!tracks(states)) return logits_of(states, head.weight, false);
  const bool narrow = options.base_type == BaseType::kBFloat16;
  return HeadFunction::apply(states, narrow && reads_copy(head, options) ? head.rounded() : head.weight, narrow);
}

}  // namespace rkif
