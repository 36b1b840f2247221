#include "models/upload.h"

#include <cstring>

namespace rkif {

void Upload::add(const void* values, size_t bytes, at::ScalarType type, at::Tensor& placed) {
  if (at_once_) {
    placed = copied_to(device_, values, static_cast<int64_t>(bytes / c10::elementSize(type)), type);
    return;
  }
  const size_t offset = (bytes_.size() + kAlignment - 1) / kAlignment * kAlignment;
  bytes_.resize(offset + bytes);
  if (bytes > 0) std::memcpy(bytes_.data() + offset, values, bytes);
  parts_.push_back({offset, bytes, type, &placed});
}

void Upload::send() {
  if (parts_.empty()) return;
  const at::Tensor all = copied_to(device_, bytes_.data(), static_cast<int64_t>(bytes_.size()), at::kByte);
  for (const Part& part : parts_) {
    *part.placed = all.narrow(0, static_cast<int64_t>(part.offset), static_cast<int64_t>(part.bytes)).view(part.type);
  }
  parts_.clear();
  bytes_.clear();
}

}  // namespace rkif
