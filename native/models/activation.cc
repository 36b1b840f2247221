#include "models/activation.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <ATen/ops/threshold_backward.h>

#include <optional>
#include <stdexcept>

#include "models/autograd.h"

namespace rkif {
namespace {

at::Tensor activated(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::kRelu:
      return at::relu(x);
    case Activation::kGelu:
      return at::gelu(x, "none");
    case Activation::kGeluNew:
      return at::gelu(x, "tanh");
    case Activation::kSilu:
      return at::silu(x);
  }
  throw std::logic_error("unknown activation");
}

at::Tensor gradient_of(Activation activation, const at::Tensor& gradient, const at::Tensor& x) {
  switch (activation) {
    case Activation::kRelu:
      return at::threshold_backward(gradient, x, 0);
    case Activation::kGelu:
      return at::gelu_backward(gradient, x, "none");
    case Activation::kGeluNew:
      return at::gelu_backward(gradient, x, "tanh");
    case Activation::kSilu:
      return at::silu_backward(gradient, x);
  }
  throw std::logic_error("unknown activation");
}

at::Tensor forward_values(Activation activation, const at::Tensor& x, const at::Tensor& gate, const Dropout& place) {
  at::Tensor y = activated(activation, x);
  if (gate.defined()) y.mul_(gate);
  if (place.active()) place.apply(y, y);
  return y;
}

struct ActivationKept {
  Activation activation;
  at::Tensor x, gate;
  Dropout place;
};

struct ActivationFunction : torch::autograd::Function<ActivationFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::optional<at::Tensor>& gate,
                            Activation activation, const Dropout& place) {
    at::Tensor gate_values = gate ? values_of(*gate) : at::Tensor();
    keep(context, ActivationKept{activation, values_of(x), gate_values, place});
    return forward_values(activation, x, gate_values, place);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    ActivationKept kept = take<ActivationKept>(context);
    at::Tensor gradient = dropout(gradients[0], kept.place);
    at::Tensor to_gate;
    if (kept.gate.defined()) {
      if (context->needs_input_grad(1)) to_gate = activated(kept.activation, kept.x).mul_(gradient);
      gradient = at::mul(gradient, kept.gate);
    }
    at::Tensor to_x;
    if (context->needs_input_grad(0)) to_x = gradient_of(kept.activation, gradient, kept.x);
    return {to_x, to_gate, {}, {}};
  }
};

}  // namespace

at::Tensor activate(Activation activation, const at::Tensor& x, const at::Tensor& gate, const Dropout& place) {
  if (!tracks(x) && !tracks(gate)) return forward_values(activation, x, gate, place);
  std::optional<at::Tensor> optional_gate;
  if (gate.defined()) optional_gate = gate;
  return ActivationFunction::apply(x, optional_gate, activation, place);
}

}  // namespace rkif
