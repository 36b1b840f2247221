// Linear layers, frozen or trained, with an optional low-rank adapter (Hu et al., arXiv 2106.09685).
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "kernels/sum.h"
#include "models/dropout.h"
#include "models/norm.h"
#include "models/prepacked.h"

namespace rkif {

// y = W x + bias + scale * (B (A d) + B_f (A_f d)), d = dropout(x). W: [out, in], fp32, bf16 or, with scales, int8;
// bias: [out] fp32, undefined where there is none; A: [r, in] and B: [out, r], fp32; A_f and B_f: the same of frozen
// adapters, side by side along the rank.
class Linear {
 public:
  at::Tensor weight;  // undefined where it is laid out for products: prepacked() has its values then
  at::Tensor scales;  // of an int8 weight
  at::Tensor bias;
  at::Tensor a;
  at::Tensor b;
  float scale = 0;
  at::Tensor frozen_a;  // undefined where there are none
  at::Tensor frozen_b;
  // prepack() leaves the weight as it is.
  bool stays_plain = false;
  // Where they are defined, the sums over rows of |A d|, [r], and |B (A d)|, [out], are added to them.
  at::Tensor a_sums;
  at::Tensor b_sums;

  bool adapted() const { return a.defined(); }
  bool has_frozen() const { return frozen_a.defined(); }
  // Whether the adapter's path is to be computed: it is there and not folded into the weight.
  bool adapter_active() const { return a.defined() && !merged_; }

  // Of the weight, laid out or not.
  at::ScalarType type() const { return prepacked_ ? prepacked_->type() : weight.scalar_type(); }

  // Whether the base product rounds its operands to bf16.
  bool rounds() const { return type() != at::kFloat; }
  // Whether the layer can stay in bf16: its weight is, and nothing in fp32 is added to the product.
  bool narrow() const;

  // A copy of a frozen fp32 weight in bf16, made at the first call and kept.
  const at::Tensor& rounded() const;

  // Puts the weight laid out for products in its place, where it is frozen, no int8 and the machine can.
  void prepack();
  const Prepacked* prepacked() const { return prepacked_.get(); }

  // W + scale * (B A + B_f A_f) in fp32, or W where the adapter is not to be computed.
  at::Tensor dense() const;

  // Puts W + scale * (B A + B_f A_f), rounded to W's type, in W's place; the original is kept, not recomputed. For
  // adapted layers whose weight is not int8.
  void merge();
  void unmerge();

 private:
  bool merged_ = false;
  std::unique_ptr<const Prepacked> prepacked_;
  mutable at::Tensor rounded_;
  // While the adapter is merged: what it was merged into, one of the two.
  at::Tensor original_;
  std::unique_ptr<const Prepacked> original_prepacked_;
};

// One of the layers that read the same rows.
struct LinearUse {
  const Linear* layer;  // outlives the gradient's computation
  Dropout adapter_dropout = {};
  // As linear_as_stored().
  bool as_stored = false;
};

// At most this many use the same rows at once.
inline constexpr size_t kMostUses = kMostParts;

// linear() or linear_as_stored() of the same x [rows, in] by each layer, whose weights have one type: x is rounded to
// it once, and its gradient is made in one pass over those of the layers. Where one of them trains, or x has a
// gradient, all outputs are on the graph.
std::vector<at::Tensor> linear_group(const at::Tensor& x, const std::vector<LinearUse>& uses);

// linear_group(rms_norm(rows), uses), up to the rounding of gradients: the normalised rows are made in the types that
// the layers read, and only there, and their gradient goes through the norm where the layers' parts of it meet.
std::vector<at::Tensor> linear_group(const RmsNormed& rows, const std::vector<LinearUse>& uses);

// x: [rows, in] fp32 -> [rows, out] fp32. `adapter_dropout` acts on the input of A only. A bf16 or int8 weight takes
// x rounded to bf16 (the adapter does not).
at::Tensor linear(const at::Tensor& x, const Linear& layer, const Dropout& adapter_dropout = {});

// The same, left in bf16 where the layer is narrow(), which then takes x in bf16 too; the gradient of x has x's type.
// For what takes both types: the same values with half of the memory and none of the conversions.
at::Tensor linear_as_stored(const at::Tensor& x, const Linear& layer, const Dropout& adapter_dropout = {});

}  // namespace rkif
