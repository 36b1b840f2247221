// Linear layers, frozen or trained, with an optional low-rank adapter (Hu et al., arXiv 2106.09685).
#pragma once
#include <ATen/core/Tensor.h>

#include "models/dropout.h"

namespace rkif {

// y = W x + bias + scale * B (A dropout(x)). W: [out, in], fp32, bf16 or, with scales, int8; bias: [out] fp32,
// undefined where there is none; A: [r, in] and B: [out, r], fp32.
class Linear {
 public:
  at::Tensor weight;
  at::Tensor scales;  // of an int8 weight
  at::Tensor bias;
  at::Tensor a;
  at::Tensor b;
  float scale = 0;

  bool adapted() const { return a.defined(); }
  // Whether the adapter's path is to be computed: it is there and not folded into the weight.
  bool adapter_active() const { return a.defined() && !original_.defined(); }

  // Puts W + scale * B A, rounded to W's type, in W's place; the original is kept, not recomputed. For adapted layers
  // whose weight is not int8.
  void merge();
  void unmerge();

 private:
  at::Tensor original_;
};

// x: [rows, in] fp32 -> [rows, out] fp32. `adapter_dropout` acts on the input of A only. A bf16 or int8 weight takes
// x rounded to bf16 (the adapter does not).
at::Tensor linear(const at::Tensor& x, const Linear& layer, const Dropout& adapter_dropout = {});

}  // namespace rkif
