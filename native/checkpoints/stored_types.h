// The element types a safetensors file may hold, and small helpers that reader and writer share.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace rkif {

// The format's own limit for the header (MAX_HEADER_SIZE of the safetensors project).
inline constexpr size_t kMaxHeaderLength = 100'000'000;

// Bits of one element; 0 for an unknown type.
size_t element_bits(std::string_view type);

// "F64, F32, ...", for messages.
std::string known_types();

// The text in quotes, cut where it is very long, control characters escaped: names come from files that may be hostile.
std::string quoted(std::string_view text);

}  // namespace rkif
