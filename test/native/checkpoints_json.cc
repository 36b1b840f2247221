// The JSON reader against RFC 8259, apart from what a safetensors header makes of it.
#include "check.h"
#include "checkpoints/json.h"
#include "checkpoints/utf8.h"

namespace {

using namespace rkif;

void parse(const std::string& text) {
  JsonReader json(text);
  json.skip_value();
  json.finish();
}

std::string string_of(const std::string& text) {
  JsonReader json(text);
  std::string value = json.read_string();
  json.finish();
  return value;
}

uint64_t number_of(const std::string& text) {
  JsonReader json(text);
  const uint64_t value = json.read_uint64();
  json.finish();
  return value;
}

}  // namespace

TEST("json: texts of the grammar are accepted") {
  for (const char* text : {"null",
                           "true",
                           "false",
                           "0",
                           "-0",
                           "-0.0",
                           "10",
                           "1.25",
                           "1e5",
                           "1E+5",
                           "1.5e-7",
                           "\"\"",
                           "[]",
                           "{}",
                           " [ ] ",
                           "[1,2 , 3]",
                           "{\"a\":[{}],\"b\":null}",
                           "{\"a\":1,\"a\":2}",
                           "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
                           "1e999"}) {
    parse(text);
  }
}

TEST("json: texts outside the grammar are refused") {
  const std::string nul(1, '\0');
  for (const std::string& text : std::vector<std::string>{"",
                                                          " ",
                                                          "nul",
                                                          "nullx",
                                                          "True",
                                                          "NaN",
                                                          "Infinity",
                                                          "+1",
                                                          "01",
                                                          "-",
                                                          "-a",
                                                          "1.",
                                                          ".5",
                                                          "1.e5",
                                                          "1e",
                                                          "1e+",
                                                          "0x10",
                                                          "1_000",
                                                          "'a'",
                                                          "\"",
                                                          "\"a",
                                                          "\"\\\"",
                                                          "\"\\x\"",
                                                          "\"\\u12\"",
                                                          "\"\\u12g4\"",
                                                          "\"a\nb\"",
                                                          "\"\t\"",
                                                          "\"" + nul + "\"",
                                                          "[",
                                                          "[1",
                                                          "[1,",
                                                          "[1,]",
                                                          "[,1]",
                                                          "[1 2]",
                                                          "[1}",
                                                          "{",
                                                          "{\"a\"",
                                                          "{\"a\":",
                                                          "{\"a\":1",
                                                          "{\"a\":1,",
                                                          "{\"a\":1,}",
                                                          "{,}",
                                                          "{a:1}",
                                                          "{1:1}",
                                                          "{\"a\" 1}",
                                                          "{\"a\":1]",
                                                          "{\"a\"::1}",
                                                          "1 2",
                                                          "[]]",
                                                          "{}x",
                                                          "/* c */ 1",
                                                          "1 // c",
                                                          "1" + nul,
                                                          nul,
                                                          "\xc2\xa0"
                                                          "1",
                                                          "\f1",
                                                          "\"\\ud800\"",
                                                          "\"\\ud800x\"",
                                                          "\"\\ud800\\u0041\"",
                                                          "\"\\udc00\"",
                                                          "\"\\ud800\\ud800\""}) {
    CHECK_THROWS(parse(text), JsonError, "at byte ");
  }
}

TEST("json: strings") {
  CHECK_EQUAL(string_of("\"a\\u0000b\""), std::string("a\0b", 3));
  CHECK_EQUAL(string_of("\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\""), "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  CHECK_EQUAL(string_of("\"\xc3\xa9\xf0\x9f\x98\x80\""), "\xc3\xa9\xf0\x9f\x98\x80");
  CHECK_EQUAL(string_of("\"\\b\\f\\n\\r\\t\\/\\\\\\\"\""), "\b\f\n\r\t/\\\"");
  CHECK_THROWS(string_of("1"), JsonError, "expected a string, not a number");
}

TEST("json: integers are exact in 64 bits") {
  CHECK_EQUAL(number_of("0"), 0u);
  CHECK_EQUAL(number_of("9007199254740993"), 9007199254740993u);  // 2^53 + 1, which a double cannot hold
  CHECK_EQUAL(number_of("18446744073709551615"), UINT64_MAX);
  for (const char* text :
       {"18446744073709551616", "99999999999999999999999", "-1", "-0", "1.0", "1e2", "true", "\"1\"", "[1]"}) {
    CHECK_THROWS(number_of(text), JsonError, "expected an integer from 0 to 2^64 - 1");
  }
}

TEST("json: UTF-8 against a decoder that goes by the definition") {
  // Every sequence of up to two bytes, and for longer ones every lead with the bytes at the borders of the ranges.
  const auto valid = [](const std::string& text) {
    for (size_t i = 0; i < text.size();) {
      const auto lead = static_cast<unsigned char>(text[i]);
      const size_t length = lead < 0x80 ? 1 : (lead >> 5) == 6 ? 2 : (lead >> 4) == 14 ? 3 : (lead >> 3) == 30 ? 4 : 0;
      if (length == 0 || i + length > text.size()) return false;
      uint32_t code = length == 1 ? lead : lead & (0x7f >> length);
      for (size_t k = 1; k < length; ++k) {
        const auto next = static_cast<unsigned char>(text[i + k]);
        if ((next >> 6) != 2) return false;
        code = code << 6 | (next & 0x3f);
      }
      const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
      if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return false;
      i += length;
    }
    return true;
  };
  const auto agree = [&](const std::string& text) {
    CHECK_EQUAL(find_invalid_utf8(text) == std::string::npos, valid(text));
  };
  const int borders[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
  for (int a = 0; a < 256; ++a) {
    agree({static_cast<char>(a)});
    for (int b = 0; b < 256; ++b) {
      agree({static_cast<char>(a), static_cast<char>(b)});
      for (const int c : borders) {
        agree({static_cast<char>(a), static_cast<char>(b), static_cast<char>(c)});
        for (const int d : borders)
          agree({static_cast<char>(a), static_cast<char>(b), static_cast<char>(c), static_cast<char>(d)});
      }
    }
  }
  CHECK_EQUAL(find_invalid_utf8("ab\xff"), 2u);
}
