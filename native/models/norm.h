// Root mean square normalisation (Zhang & Sennrich, arXiv 1910.07467): y = weight * x / sqrt(mean(x^2) + epsilon), per
// row, in fp32.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace rkif {

// x: [rows, d], weight: [d]; a trainable weight's gradient goes into weight.grad().
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

// The normalised rows of x, before anything has computed them.
struct RmsNormed {
  at::Tensor x;
  at::Tensor weight;
  double epsilon;
};

// For functions that compute a norm and its gradient among other things; x is contiguous and off the graph.

// [rows, d] in fp32 and rounded to bf16, and what the gradient needs; undefined what was not asked for.
struct NormedRows {
  at::Tensor wide, rounded, inverse;
};
NormedRows normed_rows(const RmsNormed& of, bool wide, bool rounded, bool inverse);

// `g`, [rows, d] fp32, is the gradient of the normalised rows.
void add_norm_weight_gradient(const RmsNormed& of, const at::Tensor& inverse, const at::Tensor& g);

// The gradient of x, from up to three parts of that of the normalised rows, all fp32 or all bf16, whose sum it is. It
// may be written in the place of a part.
void norm_gradient(const RmsNormed& of, const at::Tensor& inverse, const std::vector<at::Tensor>& g,
                   const at::Tensor& dx);

}  // namespace rkif
