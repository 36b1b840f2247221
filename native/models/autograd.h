// What the autograd Functions of the models share.
//
// A Function's backward pass adds the gradient of a trainable leaf straight into its `.grad` view of the flat gradient
// vector and returns nothing for it: no temporary of the weight's size, no second pass. Plain ATen operators reach the
// same view through autograd's own accumulation.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

namespace rkif {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

inline bool tracks(const at::Tensor& tensor) {
  return at::GradMode::is_enabled() && tensor.defined() && tensor.requires_grad();
}

// The values without the graph that made them: what a Function keeps of its inputs and outputs. Keeping an output
// itself would be a reference cycle, and a chain of inputs would make the graph's destruction recursive.
inline at::Tensor values_of(const at::Tensor& tensor) { return tensor.variable_data(); }

template <class T>
struct Kept : torch::CustomClassHolder {
  explicit Kept(T v) : value(std::move(v)) {}
  T value;
};

// Stores what the backward pass needs: one C++ struct a Function.
template <class T>
void keep(AutogradContext* context, T value) {
  context->saved_data.emplace("kept", c10::IValue::make_capsule(c10::make_intrusive<Kept<T>>(std::move(value))));
}

// Moves it out: activations are freed as the backward pass goes, and a graph is walked once only.
template <class T>
T take(AutogradContext* context) {
  auto capsule = std::move(context->saved_data.at("kept")).toCapsule();
  context->saved_data.clear();
  return std::move(static_cast<Kept<T>*>(capsule.get())->value);
}

}  // namespace rkif
