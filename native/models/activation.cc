#include "models/activation.h"

#include <ATen/ops/empty_like.h>

#include <optional>

#include "models/autograd.h"
#include "models/device.h"
#include "models/profile.h"

namespace rkif {
namespace {

struct ActivationKept {
  Activation activation;
  at::Tensor x, gate;
  Dropout place;
};

// Of a matrix that may be undefined.
const void* values_or_null(const at::Tensor& tensor) { return tensor.defined() ? tensor.const_data_ptr() : nullptr; }

at::Tensor forward_values(const ActivationKept& of) {
  NamedWork work("rkif::activation");
  at::Tensor out = at::empty_like(of.x);
  kernels_of(of.x).activation_forward(of.activation, masked(of.place, of.x), stored_type(of.x), of.x.const_data_ptr(),
                                      values_or_null(of.gate), out.mutable_data_ptr());
  return out;
}

struct ActivationFunction : torch::autograd::Function<ActivationFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::optional<at::Tensor>& gate,
                            Activation activation, const Dropout& place) {
    ActivationKept kept{activation, values_of(x), gate ? values_of(*gate) : at::Tensor(), place};
    at::Tensor out = forward_values(kept);
    keep(context, std::move(kept));
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    ActivationKept kept = take<ActivationKept>(context);
    at::Tensor gradient = gradients[0].contiguous();
    NamedWork work("rkif::activation");
    // The inputs are not read again: their gradients take their places.
    kernels_of(kept.x).activation_backward(kept.activation, masked(kept.place, kept.x), stored_type(kept.x),
                                           kept.x.const_data_ptr(), values_or_null(kept.gate),
                                           gradient.const_data_ptr(), kept.x.mutable_data_ptr(),
                                           kept.gate.defined() ? kept.gate.mutable_data_ptr() : nullptr);
    return {kept.x, kept.gate, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor activate(Activation activation, const at::Tensor& x, const at::Tensor& gate, const Dropout& place) {
  at::Tensor in = x.contiguous();
  at::Tensor gate_in = gate.defined() ? gate.contiguous() : gate;
  TORCH_CHECK(!gate.defined() || gate.scalar_type() == x.scalar_type(), "activation: the input is ", x.scalar_type(),
              ", its gate ", gate.scalar_type());
  if (!tracks(in) && !tracks(gate_in)) return forward_values({activation, in, gate_in, place});
  std::optional<at::Tensor> optional_gate;
  if (gate_in.defined()) optional_gate = gate_in;
  return ActivationFunction::apply(in, optional_gate, activation, place);
}

}  // namespace rkif
