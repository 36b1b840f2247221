// Frozen weights in the layout that the machine's matrix products read fastest: oneDNN's, through libtorch's operators.
#pragma once
#include <ATen/core/Tensor.h>

namespace rkif {

// Whether this libtorch and this CPU can: oneDNN is there and, for bf16, the instructions it needs.
bool can_prepack(at::ScalarType type);

// One weight, [out, in], fp32 or bf16, laid out once for each of the two products of a training step. Takes twice the
// weight's memory beside it. Products round as plain ones do, but not to the same bits.
class Prepacked {
 public:
  // `both`: for times() as well.
  Prepacked(const at::Tensor& weight, bool both);

  bool has_both() const { return backward_.defined(); }
  // x: [rows, in] in the weight's type -> x W^T, [rows, out] in that type.
  at::Tensor times_transposed(const at::Tensor& x) const;
  // y: [rows, out] -> y W, [rows, in]. Only with `both`.
  at::Tensor times(const at::Tensor& y) const;

 private:
  at::Tensor forward_;
  at::Tensor backward_;
};

}  // namespace rkif
