#include <ATen/Parallel.h>

#include <cstring>
#include <stdexcept>

#include "checkpoints/float_bits.h"
#include "checkpoints/safetensors.h"
#include "checkpoints/stored_types.h"

namespace rkif {

namespace {

// Elements one thread takes at least: below this, starting threads costs more than converting.
constexpr int64_t kGrain = 1 << 16;

template <typename Stored, typename Convert>
void convert_all(const std::byte* from, int64_t count, float* out, Convert convert) {
  at::parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Stored value;
      std::memcpy(&value, from + i * static_cast<int64_t>(sizeof value), sizeof value);  // may be unaligned
      out[i] = convert(value);
    }
  });
}

template <typename Stored>
void convert_number(const std::byte* from, int64_t count, float* out) {
  convert_all<Stored>(from, count, out, [](Stored value) { return static_cast<float>(value); });
}

}  // namespace

void convert_to_float(const StoredTensor& tensor, int64_t first, int64_t count, float* out) {
  const std::string& type = tensor.type;
  const size_t size = element_size(type);
  const auto total = size == 0 ? int64_t{0} : static_cast<int64_t>(tensor.byte_length / size);
  if (size != 0 && (first < 0 || count < 0 || first > total || count > total - first)) {
    throw std::out_of_range("tensor " + quoted(tensor.name) + " has " + std::to_string(total) + " elements; " +
                            std::to_string(count) + " from " + std::to_string(first) + " were asked for");
  }
  const std::byte* from = tensor.data + static_cast<size_t>(first) * size;
  if (type == "F32") {
    at::parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) {
      std::memcpy(out + begin, from + begin * 4, static_cast<size_t>(end - begin) * 4);
    });
  } else if (type == "BF16") {
    convert_all<uint16_t>(from, count, out, bfloat16_to_float);
  } else if (type == "F16") {
    convert_all<uint16_t>(from, count, out, half_to_float);
  } else if (type == "F64") {
    convert_number<double>(from, count, out);
  } else if (type == "I64") {
    convert_number<int64_t>(from, count, out);
  } else if (type == "I32") {
    convert_number<int32_t>(from, count, out);
  } else if (type == "I16") {
    convert_number<int16_t>(from, count, out);
  } else if (type == "I8") {
    convert_number<int8_t>(from, count, out);
  } else if (type == "U8") {
    convert_number<uint8_t>(from, count, out);
  } else if (type == "BOOL") {
    convert_all<uint8_t>(from, count, out, [](uint8_t value) { return value != 0 ? 1.0f : 0.0f; });
  } else {
    throw CheckpointInvalid(
        "tensor " + quoted(tensor.name) + ": type " + quoted(type) +
        " cannot be read as numbers; expected one of F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL");
  }
}

}  // namespace rkif
