// The lists that a batch or a step needs on its device, which go there together.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "models/device.h"

namespace rkif {

// Collects lists, then copies all of them at once: a GPU has a copy to do for a batch instead of one for each list, and
// the host waits for none (copied_to). Where the host's memory is read as it is, every list becomes a tensor at once.
class Upload {
 public:
  // Bytes that a list's place on the device is a multiple of: whatever a kernel reads at once.
  static constexpr size_t kAlignment = 64;

  explicit Upload(c10::Device device) : device_(device), at_once_(reads_host_memory(device)) {}
  // To where the tensor is.
  explicit Upload(const at::Tensor& like) : Upload(like.device()) {}
  Upload(const Upload&) = delete;

  c10::Device device() const { return device_; }

  // From send() on `placed` holds the values; it must not go or move before that. The values may go at once.
  template <class T>
  void add(const std::vector<T>& values, at::ScalarType type, at::Tensor& placed) {
    TORCH_INTERNAL_ASSERT(c10::elementSize(type) == sizeof(T));
    add(values.data(), values.size() * sizeof(T), type, placed);
  }
  // As int32, as operators take indices.
  void add(const std::vector<int32_t>& values, at::Tensor& placed) { add(values, at::kInt, placed); }
  // Plain structs, as bytes.
  template <class T>
  void add_structs(const std::vector<T>& values, at::Tensor& placed) {
    add(values.data(), values.size() * sizeof(T), at::kByte, placed);
  }

  // Sends what has been added. More may follow, with a send() of its own.
  void send();

 private:
  struct Part {
    size_t offset, bytes;
    at::ScalarType type;
    at::Tensor* placed;
  };

  void add(const void* values, size_t bytes, at::ScalarType type, at::Tensor& placed);

  const c10::Device device_;
  const bool at_once_;
  std::vector<Part> parts_;
  std::vector<std::byte> bytes_;
};

}  // namespace rkif
