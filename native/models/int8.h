// Weight-only 8-bit matrices: one scale for each row, values symmetric around zero.
#pragma once
#include <ATen/core/Tensor.h>

namespace rkif {

struct QuantisedRows {
  at::Tensor values;  // [out, in] int8, from -127 to 127
  at::Tensor scales;  // [out] fp32: weight = scale * value
};

// scale = max |weight of the row| / 127, values rounded to nearest even. `weight`: [out, in], fp32, bf16, fp16 or fp64.
// Reads it once, on libtorch's threads. A row with a value that is not finite throws std::invalid_argument.
QuantisedRows quantise_rows(const at::Tensor& weight);

// x W^T, [rows, out] fp32, for x [rows, in]. The values, exact in bf16, are widened a block of rows at a time, x is
// rounded to bf16 as with a bf16 weight, and the scales are applied to the products in fp32.
at::Tensor times_transposed(const at::Tensor& x, const QuantisedRows& weight);

// y W, [rows, in] fp32, for y [rows, out]: the gradient of x.
at::Tensor times(const at::Tensor& y, const QuantisedRows& weight);

}  // namespace rkif
