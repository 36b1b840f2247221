// Layer normalisation (Ba, Kiros & Hinton, arXiv 1607.06450): y = weight * (x - mean(x)) / sqrt(variance(x) + epsilon)
// + bias, per row, in fp32.
#pragma once
#include <ATen/core/Tensor.h>

namespace rkif {

struct LayerNorm {
  at::Tensor weight;
  at::Tensor bias;
};

// x: [rows, d], weight and bias: [d]; their gradients, where they are trained, go into their grad().
at::Tensor layer_norm(const at::Tensor& x, const LayerNorm& norm, double epsilon);

}  // namespace rkif
