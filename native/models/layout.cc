#include "models/layout.h"

#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>

#include <utility>

namespace rkif {

size_t FlatParameters::add(std::string name, std::vector<int64_t> shape) {
  int64_t count = c10::multiply_integers(shape);
  layout_.push_back({std::move(name), std::move(shape), length_});
  length_ += count;
  return layout_.size() - 1;
}

void FlatParameters::allocate(c10::Device device) {
  const at::TensorOptions options = at::TensorOptions(at::kFloat).device(device);
  parameters_ = at::zeros({length_}, options);
  gradients_ = at::zeros({length_}, options);
  for (const TensorLayout& tensor : layout_) {
    int64_t count = c10::multiply_integers(tensor.shape);
    at::Tensor leaf = parameters_.narrow(0, tensor.offset, count).view(tensor.shape).detach();
    leaf.set_requires_grad(true);
    leaf.mutable_grad() = gradients_.narrow(0, tensor.offset, count).view(tensor.shape);
    leaves_.push_back(std::move(leaf));
  }
}

}  // namespace rkif
