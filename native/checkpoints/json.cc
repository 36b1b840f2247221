#include "checkpoints/json.h"

#include <cstdio>

#include "checkpoints/utf8.h"

namespace rkif {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

const char* name_of(JsonReader::Kind kind) {
  switch (kind) {
    case JsonReader::Kind::kObject:
      return "an object";
    case JsonReader::Kind::kArray:
      return "an array";
    case JsonReader::Kind::kString:
      return "a string";
    case JsonReader::Kind::kNumber:
      return "a number";
    case JsonReader::Kind::kBoolean:
      return "true or false";
    case JsonReader::Kind::kNull:
      return "null";
  }
  return "a value";
}

}  // namespace

JsonReader::JsonReader(std::string_view text) : text_(text) {
  position_ = find_invalid_utf8(text);
  if (position_ != std::string_view::npos) fail("UTF-8");
  position_ = 0;
}

void JsonReader::fail(const std::string& expected) const {
  std::string found = "the end";
  if (position_ < text_.size()) {
    const auto c = static_cast<unsigned char>(text_[position_]);
    char shown[24];
    std::snprintf(shown, sizeof shown, c > 0x20 && c < 0x7f ? "'%c'" : "byte 0x%02x", c);
    found = shown;
  }
  throw JsonError("at byte " + std::to_string(position_) + ": found " + found + ", expected " + expected);
}

void JsonReader::skip_space() {
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return;
    ++position_;
  }
}

void JsonReader::expect(char c, const char* expected) {
  skip_space();
  if (position_ >= text_.size() || text_[position_] != c) fail(expected);
  ++position_;
}

void JsonReader::push() {
  if (open_.size() == kMaxDepth) {
    fail("at most " + std::to_string(kMaxDepth) + " levels of nesting");
  }
  open_.push_back(true);
}

JsonReader::Kind JsonReader::peek() {
  skip_space();
  switch (current()) {
    case '{':
      return Kind::kObject;
    case '[':
      return Kind::kArray;
    case '"':
      return Kind::kString;
    case 't':
    case 'f':
      return Kind::kBoolean;
    case 'n':
      return Kind::kNull;
    default:
      if (current() == '-' || is_digit(current())) return Kind::kNumber;
      fail("a JSON value");
  }
}

void JsonReader::begin_object() {
  skip_space();
  if (current() != '{') fail("an object");
  push();
  ++position_;
}

void JsonReader::begin_array() {
  skip_space();
  if (current() != '[') fail("an array");
  push();
  ++position_;
}

bool JsonReader::next_item(char close, const char* expected) {
  skip_space();
  if (current() == close) {
    ++position_;
    open_.pop_back();
    return false;
  }
  if (open_.back()) {
    open_.back() = false;
  } else {
    expect(',', expected);
    skip_space();
  }
  return true;
}

bool JsonReader::next_member(std::string* name) {
  if (!next_item('}', "',' or '}'")) return false;
  if (current() != '"') fail("a member's name in quotes");
  scan_string(name);
  expect(':', "':'");
  return true;
}

bool JsonReader::next_element() { return next_item(']', "',' or ']'"); }

std::string JsonReader::read_string() {
  if (const Kind kind = peek(); kind != Kind::kString) fail(std::string("a string, not ") + name_of(kind));
  std::string out;
  scan_string(&out);
  return out;
}

// Reads a string whose opening quote comes next; `out` may be null.
void JsonReader::scan_string(std::string* out) {
  if (out) out->clear();
  ++position_;
  while (true) {
    const size_t start = position_;
    while (position_ < text_.size() && text_[position_] != '"' && text_[position_] != '\\' &&
           static_cast<unsigned char>(text_[position_]) >= 0x20) {
      ++position_;
    }
    if (out) out->append(text_, start, position_ - start);
    if (position_ >= text_.size()) fail("the string's closing quote");
    if (text_[position_] == '"') {
      ++position_;
      return;
    }
    if (text_[position_] != '\\') fail("a control character to be escaped");
    ++position_;
    scan_escape(out);
  }
}

void JsonReader::scan_escape(std::string* out) {
  static constexpr std::string_view kEscapes = "\"\\/bfnrt", kMeaning = "\"\\/\b\f\n\r\t";
  if (const size_t i = kEscapes.find(current()); i != std::string_view::npos) {
    ++position_;
    if (out) out->push_back(kMeaning[i]);
    return;
  }
  if (current() != 'u') fail("an escape sequence");
  ++position_;
  uint32_t code = scan_hex4();
  if (code >= 0xdc00 && code <= 0xdfff) fail("no low surrogate without a high one before it");
  if (code >= 0xd800 && code <= 0xdbff) {
    if (text_.substr(position_, 2) != "\\u") fail("the low half of a surrogate pair");
    position_ += 2;
    const uint32_t low = scan_hex4();
    if (low < 0xdc00 || low > 0xdfff) fail("the low half of a surrogate pair before this");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  if (out) append_utf8(code, out);
}

uint32_t JsonReader::scan_hex4() {
  uint32_t code = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = current();
    uint32_t digit;
    if (is_digit(c)) {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else {
      fail("four hexadecimal digits");
    }
    code = code * 16 + digit;
    ++position_;
  }
  return code;
}

// number = [ "-" ] int [ frac ] [ exp ], RFC 8259 section 6.
std::string_view JsonReader::scan_number() {
  const size_t start = position_;
  const auto digits = [this] {
    if (!is_digit(current())) fail("a digit");
    while (is_digit(current())) ++position_;
  };
  if (current() == '-') ++position_;
  if (current() == '0') {
    ++position_;
    if (is_digit(current())) fail("no digit after a leading zero");
  } else {
    digits();
  }
  if (current() == '.') {
    ++position_;
    digits();
  }
  if (current() == 'e' || current() == 'E') {
    ++position_;
    if (current() == '+' || current() == '-') ++position_;
    digits();
  }
  return text_.substr(start, position_ - start);
}

uint64_t JsonReader::read_uint64() {
  static const std::string kExpected = "an integer from 0 to 2^64 - 1";
  if (const Kind kind = peek(); kind != Kind::kNumber) fail(kExpected + ", not " + name_of(kind));
  const size_t start = position_;
  const std::string_view number = scan_number();
  const auto refuse = [&] {
    throw JsonError("at byte " + std::to_string(start) + ": found " + std::string(number.substr(0, 40)) +
                    (number.size() > 40 ? "..." : "") + ", expected " + kExpected);
  };
  uint64_t value = 0;
  for (const char c : number) {
    if (!is_digit(c) || __builtin_mul_overflow(value, uint64_t{10}, &value) ||
        __builtin_add_overflow(value, static_cast<uint64_t>(c - '0'), &value)) {
      refuse();
    }
  }
  return value;
}

void JsonReader::scan_word(std::string_view word) {
  if (text_.substr(position_, word.size()) != word) fail(std::string(word));
  position_ += word.size();
}

void JsonReader::read_null() {
  if (const Kind kind = peek(); kind != Kind::kNull) fail(std::string("null, not ") + name_of(kind));
  scan_word("null");
}

void JsonReader::skip_value() {
  switch (peek()) {  // recursion ends at kMaxDepth
    case Kind::kObject:
      begin_object();
      while (next_member(nullptr)) skip_value();
      return;
    case Kind::kArray:
      begin_array();
      while (next_element()) skip_value();
      return;
    case Kind::kString:
      scan_string(nullptr);
      return;
    case Kind::kNumber:
      scan_number();
      return;
    case Kind::kBoolean:
      scan_word(current() == 't' ? "true" : "false");
      return;
    case Kind::kNull:
      scan_word("null");
      return;
  }
}

void JsonReader::finish() {
  skip_space();
  if (position_ < text_.size()) fail("nothing after the value");
}

}  // namespace rkif
