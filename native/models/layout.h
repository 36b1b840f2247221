// The flat vector of all trainable parameters, its gradient, and the tensors as views of both.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "models/model.h"

namespace rkif {

class FlatParameters {
 public:
  // Declares the next tensor and returns its index; all before allocate().
  size_t add(std::string name, std::vector<int64_t> shape);
  // Zeros for all; then every tensor is a detached leaf with requires_grad whose .grad is a view of gradients().
  // Autograd adds to such a .grad in place as long as nobody resets it and no graph of the gradient is asked for: clear
  // the flat vector, never the views.
  void allocate(c10::Device device);

  const at::Tensor& leaf(size_t index) const { return leaves_.at(index); }
  const std::vector<TensorLayout>& layout() const { return layout_; }
  const at::Tensor& parameters() const { return parameters_; }
  const at::Tensor& gradients() const { return gradients_; }

 private:
  std::vector<TensorLayout> layout_;
  int64_t length_ = 0;
  at::Tensor parameters_;
  at::Tensor gradients_;
  std::vector<at::Tensor> leaves_;
};

}  // namespace rkif
