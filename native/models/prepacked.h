// Frozen weights in the layout that the machine's matrix products read fastest: oneDNN's, through libtorch's operators.
#pragma once
#include <ATen/core/Tensor.h>

#include <mutex>

namespace rkif {

// Whether this libtorch and this CPU can: oneDNN is there and, for bf16, the instructions it needs.
bool can_prepack(at::ScalarType type);

// One weight, [out, in], fp32 or bf16, laid out for the product of the forward pass and, once that is asked for, for
// the backward pass's as well: each takes the weight's memory. Products round as plain ones do, but not to the same
// bits.
class Prepacked {
 public:
  explicit Prepacked(const at::Tensor& weight);

  // x: [rows, in] in the weight's type -> x W^T, [rows, out] in that type.
  at::Tensor times_transposed(const at::Tensor& x) const;
  // y: [rows, out] -> y W, [rows, in].
  at::Tensor times(const at::Tensor& y) const;
  // Lays it out for times() now instead of at the first call: among activations, what stays would split the memory that
  // they leave behind.
  void prepare_times() const;
  // The weight as it was given, the same bits.
  at::Tensor plain() const;
  at::ScalarType type() const { return forward_.scalar_type(); }

 private:
  at::Tensor forward_;
  // Made where it is needed first: an evaluation never does.
  mutable at::Tensor backward_;
  mutable std::mutex making_;
};

}  // namespace rkif
