#include "checkpoints/stored_types.h"

#include <cstdio>

#include "checkpoints/safetensors.h"

namespace rkif {

namespace {

struct Type {
  std::string_view name;
  size_t bits;
};
// All types of safetensors 0.8. Those that convert_to_float does not take can still be read as bytes.
constexpr Type kTypes[] = {
    {"F64", 64},        {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"I64", 64},    {"I32", 32},
    {"I16", 16},        {"I8", 8},      {"U64", 64},    {"U32", 32},    {"U16", 16},    {"U8", 8},
    {"BOOL", 8},        {"C64", 64},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
};

}  // namespace

size_t element_bits(std::string_view type) {
  for (const Type& known : kTypes) {
    if (known.name == type) return known.bits;
  }
  return 0;
}

size_t element_size(std::string_view type) { return element_bits(type) / 8; }

std::string known_types() {
  std::string list;
  for (const Type& known : kTypes) {
    if (!list.empty()) list += ", ";
    list += known.name;
  }
  return list;
}

std::string quoted(std::string_view text) {
  constexpr size_t kShown = 200;
  size_t length = text.size();
  if (length > kShown) {
    length = kShown;
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80) --length;  // not within a character
  }
  std::string out = "\"";
  for (const char c : text.substr(0, length)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '"' || c == '\\') {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + (length < text.size() ? "...\"" : "\"");
}

}  // namespace rkif
