// Root mean square normalisation (Zhang & Sennrich, arXiv 1910.07467): y = weight * x / sqrt(mean(x^2) + epsilon), per
// row, in fp32.
#pragma once
#include <ATen/core/Tensor.h>

namespace rkif {

// x: [rows, d], weight: [d]; a trainable weight's gradient goes into weight.grad().
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

}  // namespace rkif
