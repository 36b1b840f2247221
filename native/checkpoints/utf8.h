// UTF-8, as far as reading and checking JSON needs it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rkif {

// Index of the first byte that is not part of a well-formed UTF-8 sequence (Unicode 15, table 3-7); npos where all is
// well.
size_t find_invalid_utf8(std::string_view text);

// Appends a code point that is known to be a Unicode scalar value.
void append_utf8(uint32_t code, std::string* out);

}  // namespace rkif
