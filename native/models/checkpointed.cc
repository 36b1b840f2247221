#include "models/checkpointed.h"

#include <torch/csrc/autograd/autograd.h>

#include <optional>

#include "models/autograd.h"

namespace rkif {
namespace {

thread_local bool again = false;

class Again {
 public:
  Again() : before_(again) { again = true; }
  ~Again() { again = before_; }
  Again(const Again&) = delete;

 private:
  bool before_;
};

struct PartKept {
  Part part;
  PartInputs inputs;
  std::array<bool, 3> wanted;  // gradients: needs_input_grad() does not count inputs that are not there
};

at::Tensor defined_or_none(const std::optional<at::Tensor>& tensor) { return tensor ? *tensor : at::Tensor(); }

struct CheckpointFunction : torch::autograd::Function<CheckpointFunction> {
  // Gradient mode is off here: the part makes no graph.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& first, const std::optional<at::Tensor>& second,
                            const std::optional<at::Tensor>& third, const Part& part) {
    PartKept kept{part, {first, defined_or_none(second), defined_or_none(third)}, {}};
    for (size_t i = 0; i < kept.inputs.size(); ++i) {
      at::Tensor& input = kept.inputs[i];
      if (!input.defined()) continue;
      kept.wanted[i] = input.requires_grad();
      input = values_of(input);
    }
    at::Tensor out = part(kept.inputs);
    keep(context, std::move(kept));
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    PartKept kept = take<PartKept>(context);
    PartInputs leaves;
    for (size_t i = 0; i < leaves.size(); ++i) {
      if (!kept.inputs[i].defined()) continue;
      leaves[i] = kept.inputs[i].detach();
      leaves[i].requires_grad_(kept.wanted[i]);
    }
    {
      const Again marked;
      at::AutoGradMode with_graph(true);
      at::Tensor out = kept.part(leaves);
      torch::autograd::backward({out}, {gradients[0]});
    }
    auto gradient = [&](size_t i) { return leaves[i].defined() ? leaves[i].grad() : at::Tensor(); };
    return {gradient(0), gradient(1), gradient(2), at::Tensor()};
  }
};

}  // namespace

bool computing_again() { return again; }

at::Tensor checkpointed(bool enabled, const Part& part, const PartInputs& inputs) {
  if (!enabled || !(tracks(inputs[0]) || tracks(inputs[1]) || tracks(inputs[2]))) return part(inputs);
  std::optional<at::Tensor> second, third;
  if (inputs[1].defined()) second = inputs[1];
  if (inputs[2].defined()) third = inputs[2];
  return CheckpointFunction::apply(inputs[0], second, third, part);
}

}  // namespace rkif
