// A strict pull reader for JSON (RFC 8259), as much of it as the header of a safetensors file needs. It builds no tree:
// the caller asks for what it expects, so memory is used only for what is kept, whatever a hostile header holds.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace rkif {

// The text is not JSON, or not the value that was asked for. The message says at which byte, what was found and what
// was expected.
struct JsonError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Usage: begin_object(); while (next_member(&name)) { exactly one of the value calls }. The text must outlive the
// reader.
class JsonReader {
 public:
  // Containers may nest this deep, as in serde_json, with which the safetensors project reads its headers.
  static constexpr size_t kMaxDepth = 127;

  enum class Kind { kObject, kArray, kString, kNumber, kBoolean, kNull };

  // Throws JsonError where the text is not UTF-8.
  explicit JsonReader(std::string_view text);

  // Of the value that comes next, by its first character.
  Kind peek();

  void begin_object();
  // Reads the next member's name; false where the object ends. Names may repeat: the caller decides what that means.
  bool next_member(std::string* name);
  void begin_array();
  // False where the array ends.
  bool next_element();

  std::string read_string();
  // An integer written without sign, fraction or exponent, exact in 64 bits.
  uint64_t read_uint64();
  void read_null();
  // Any value, checked in full and dropped.
  void skip_value();
  // Nothing but white space may be left.
  void finish();

 private:
  [[noreturn]] void fail(const std::string& expected) const;
  char current() const { return position_ < text_.size() ? text_[position_] : '\0'; }
  void skip_space();
  void expect(char c, const char* expected);
  void push();
  bool next_item(char close, const char* expected);
  void scan_string(std::string* out);
  void scan_escape(std::string* out);
  uint32_t scan_hex4();
  std::string_view scan_number();
  void scan_word(std::string_view word);

  std::string_view text_;
  size_t position_ = 0;
  std::vector<bool> open_;  // one per open container: whether it has had no item yet
};

}  // namespace rkif
