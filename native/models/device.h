// The device that tensors are on: its kernels, and what goes there and comes from there (lists of a batch or a step
// together: upload.h).
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cstring>
#include <vector>

#include "kernels/kernels.h"

namespace rkif {

// The kernels of the device that holds the tensor, which is from now on the calling thread's: kernels are launched
// there. Throws std::logic_error where they have not been given.
const Kernels& kernels_of(const at::Tensor& tensor);

// From now on those for this kind of device; null: none (for the CPU: its own). They outlive every use.
void set_kernels(c10::DeviceType device, const Kernels* kernels);

// Whether there are any for this kind of device.
bool has_kernels(c10::DeviceType device);

// The values of an fp32 or bf16 tensor, and which of the two.
inline Stored stored_type(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 ? Stored::kBfloat16 : Stored::kFloat32;
}

// The values of a bf16 tensor, as the kernels have them.
inline const Bfloat16* bfloat16_values(const at::Tensor& tensor) {
  return reinterpret_cast<const Bfloat16*>(tensor.const_data_ptr<at::BFloat16>());
}

// The values of up to kMostParts contiguous tensors of one type and size.
inline Parts<void> parts_of(const std::vector<at::Tensor>& tensors) {
  TORCH_INTERNAL_ASSERT(!tensors.empty() && tensors.size() <= size_t{kMostParts});
  Parts<void> parts;
  for (const at::Tensor& tensor : tensors) {
    TORCH_INTERNAL_ASSERT(tensor.is_contiguous() && tensor.scalar_type() == tensors[0].scalar_type() &&
                          tensor.numel() == tensors[0].numel());
    parts.at[parts.count++] = tensor.const_data_ptr();
  }
  return parts;
}

// Whether what runs on the device reads the host's memory where it lies. Not a GPU, nor the CPU while it has other
// kernels than its own: in tests it stands for a GPU then.
bool reads_host_memory(c10::Device device);

// `count` numbers of a type as a tensor on the device. A GPU copies from page-locked memory, which is used again when
// the copy is done: nothing waits for the device, and the values may go when the call returns.
at::Tensor copied_to(c10::Device device, const void* values, int64_t count, at::ScalarType type);

// A tensor of these values where `like` is (undefined: on the CPU), as copied_to() makes it.
template <class T>
at::Tensor tensor_beside(const at::Tensor& like, const std::vector<T>& values, at::ScalarType type) {
  TORCH_INTERNAL_ASSERT(c10::elementSize(type) == sizeof(T));
  return copied_to(like.defined() ? like.device() : c10::Device(c10::kCPU), values.data(),
                   static_cast<int64_t>(values.size()), type);
}

// The same as int32, as operators take indices.
inline at::Tensor index_tensor(const std::vector<int32_t>& values, const at::Tensor& like) {
  return tensor_beside(like, values, at::kInt);
}

// Memory for `count` values of a plain struct on the device of `like`, as a tensor of bytes.
template <class T>
at::Tensor room_beside(const at::Tensor& like, int64_t count) {
  return at::empty({count * static_cast<int64_t>(sizeof(T))}, like.options().dtype(at::kByte));
}
template <class T>
T* values_in(const at::Tensor& room) {
  return static_cast<T*>(room.mutable_data_ptr());
}

// The values in the host's memory: waits for the device, where they are on one. Every wait goes through here, so that a
// profile counts them (kHostWait), on the CPU those that there would be on a device.
at::Tensor on_host(const at::Tensor& tensor);

// A plain struct that the device's kernels wrote: waits for them.
template <class T>
T read_value(const at::Tensor& room, int64_t index = 0) {
  T value;
  const at::Tensor here = on_host(room.narrow(0, index * static_cast<int64_t>(sizeof(T)), sizeof(T)));
  std::memcpy(&value, here.const_data_ptr(), sizeof(T));
  return value;
}

}  // namespace rkif
