// Tensors' values as the kernels take them.
#pragma once
#include <ATen/core/Tensor.h>

#include "kernels/bfloat16.h"

namespace rkif {

// The values of an fp32 or bf16 tensor.
template <class T>
T* stored(const at::Tensor& tensor);
template <>
inline float* stored<float>(const at::Tensor& tensor) {
  return tensor.mutable_data_ptr<float>();
}
template <>
inline Bfloat16* stored<Bfloat16>(const at::Tensor& tensor) {
  return reinterpret_cast<Bfloat16*>(tensor.mutable_data_ptr<at::BFloat16>());
}

}  // namespace rkif
