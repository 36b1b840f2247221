#include "models/activation.h"

#include <ATen/ops/empty_like.h>

#include <optional>

#include "models/autograd.h"
#include "models/profile.h"
#include "models/stored.h"

namespace rkif {
namespace {

struct ActivationKept {
  Activation activation;
  at::Tensor x, gate;
  Dropout place;
};

// Calls pass(shape, pointer of the stored type) for the operands' type.
template <class Pass>
void in_stored_type(const ActivationKept& of, const Pass& pass) {
  NamedWork work("rkif::activation");
  const std::vector<DropoutRow> keys = of.place.keys(of.x.size(0));
  const MaskedMatrix shape{of.x.size(0), of.x.size(1), keys.data(), of.place.rate};
  if (of.x.scalar_type() == at::kBFloat16) {
    pass(shape, static_cast<Bfloat16*>(nullptr));
  } else {
    pass(shape, static_cast<float*>(nullptr));
  }
}

at::Tensor forward_values(const ActivationKept& of) {
  at::Tensor out = at::empty_like(of.x);
  in_stored_type(of, [&]<class T>(const MaskedMatrix& shape, T*) {
    activation_forward<T>(of.activation, shape, stored<T>(of.x), of.gate.defined() ? stored<T>(of.gate) : nullptr,
                          stored<T>(out));
  });
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
    // The inputs are not read again: their gradients take their places.
    in_stored_type(kept, [&]<class T>(const MaskedMatrix& shape, T*) {
      T* gate = kept.gate.defined() ? stored<T>(kept.gate) : nullptr;
      activation_backward<T>(kept.activation, shape, stored<T>(kept.x), gate, stored<T>(gradient), stored<T>(kept.x),
                             gate);
    });
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
