// Rows of an embedding matrix.
#pragma once
#include <ATen/core/Tensor.h>

namespace rkif {

// ids: [tokens] int32, table: [vocabulary, d] fp32 or bf16 -> [tokens, d] fp32. A trainable table's gradient goes into
// table.grad().
at::Tensor embed(const at::Tensor& ids, const at::Tensor& table);

}  // namespace rkif
