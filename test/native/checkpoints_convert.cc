// Conversions of stored values, against PyTorch's own types (c10::Half, c10::BFloat16 hold IEEE's definition in scalar
// code) and values worked by hand.
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "check.h"
#include "checkpoints/float_bits.h"
#include "checkpoints/safetensors.h"

namespace {

using namespace rkif;

uint32_t bits(float value) { return std::bit_cast<uint32_t>(value); }

// The two neighbours in the 16-bit type by search, the nearer one wins, ties go to the even pattern: the definition, in
// doubles.
template <typename Widen>
uint16_t nearest(float value, uint16_t infinity, Widen widen) {
  const double magnitude = std::abs(static_cast<double>(value));
  // Patterns 0..infinity are ordered as their values. Infinity stands for the value that would come after the largest
  // one.
  const auto at = [&](uint16_t pattern) {
    return pattern < infinity
               ? static_cast<double>(widen(pattern))
               : 2.0 * widen(static_cast<uint16_t>(infinity - 1)) - widen(static_cast<uint16_t>(infinity - 2));
  };
  uint16_t low = 0, high = infinity;
  while (high - low > 1) {
    const auto middle = static_cast<uint16_t>((low + high) / 2);
    (at(middle) <= magnitude ? low : high) = middle;
  }
  const double below = magnitude - at(low), above = at(high) - magnitude;
  uint16_t result = below < above || (below == above && low % 2 == 0) ? low : high;
  if (magnitude >= at(high)) result = high;
  return static_cast<uint16_t>(result | (std::signbit(value) ? 0x8000 : 0));
}

template <typename T>
std::vector<float> converted(const std::string& type, const std::vector<T>& values, size_t misalign) {
  std::vector<std::byte> bytes(values.size() * sizeof(T) + misalign);
  std::memcpy(bytes.data() + misalign, values.data(), values.size() * sizeof(T));
  const StoredTensor tensor{
      "t", type, {static_cast<int64_t>(values.size())}, bytes.data() + misalign, values.size() * sizeof(T)};
  std::vector<float> out(values.size());
  convert_to_float(tensor, 0, static_cast<int64_t>(values.size()), out.data());
  return out;
}

template <typename T>
void check_numbers(const std::string& type, const std::vector<T>& values, const std::vector<float>& expected) {
  for (size_t misalign = 0; misalign < 3; ++misalign) {
    const auto got = converted(type, values, misalign);
    for (size_t i = 0; i < values.size(); ++i) CHECK_EQUAL(bits(got[i]), bits(expected[i]));
  }
}

}  // namespace

TEST("convert: every fp16 and bf16 pattern widens as PyTorch's types do") {
  for (uint32_t pattern = 0; pattern < 65536; ++pattern) {
    const auto p = static_cast<uint16_t>(pattern);
    const float half = half_to_float(p), half_expected = static_cast<float>(c10::Half(p, c10::Half::from_bits()));
    if (std::isnan(half_expected)) {
      CHECK(std::isnan(half) && std::signbit(half) == std::signbit(half_expected));
    } else {
      CHECK_EQUAL(bits(half), bits(half_expected));
    }
    const float brain = bfloat16_to_float(p);
    CHECK_EQUAL(bits(brain), bits(static_cast<float>(c10::BFloat16(p, c10::BFloat16::from_bits()))));
    // And back: the same pattern, as long as it is no NaN.
    if (!std::isnan(half)) CHECK_EQUAL(float_to_half(half), p);
    if (!std::isnan(brain)) CHECK_EQUAL(float_to_bfloat16(brain), p);
  }
}

TEST("convert: fp32 to fp16 and bf16 rounds to nearest even") {
  std::mt19937 random(1);
  std::vector<float> values;
  for (int i = 0; i < 100'000; ++i) values.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
  for (int i = 0; i < 100'000; ++i) {  // the range of fp16, subnormal ones included
    values.push_back(std::ldexp(static_cast<float>(random()) / 4294967296.0f, static_cast<int>(random() % 44) - 27));
  }
  for (uint32_t pattern = 0; pattern < 0x7c00;
       ++pattern) {  // ties between neighbours, and one step of fp32 to either side
    const float low = half_to_float(static_cast<uint16_t>(pattern));
    const float high = pattern == 0x7bff ? 65536.0f : half_to_float(static_cast<uint16_t>(pattern + 1));
    const float tie = low + (high - low) / 2;
    values.insert(values.end(), {tie, std::nextafter(tie, 0.0f), std::nextafter(tie, 1e9f), -tie});
  }
  for (uint32_t pattern = 0; pattern < 0x7f80; ++pattern) {  // the same for bf16
    const uint32_t tie = pattern << 16 | 0x8000;
    for (const uint32_t b : {tie, tie - 1, tie + 1, tie | 0x80000000u}) values.push_back(std::bit_cast<float>(b));
  }
  for (const float value : values) {
    if (std::isnan(value) || std::isinf(value)) continue;
    CHECK_EQUAL(float_to_half(value), nearest(value, 0x7c00, half_to_float));
    CHECK_EQUAL(float_to_bfloat16(value), nearest(value, 0x7f80, bfloat16_to_float));
    CHECK_EQUAL(float_to_half(value), c10::Half(value).x);
    CHECK_EQUAL(float_to_bfloat16(value), c10::BFloat16(value).x);
  }
}

TEST("convert: what has no ordinary value") {
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK_EQUAL(float_to_half(infinity), 0x7c00);
  CHECK_EQUAL(float_to_half(-infinity), 0xfc00);
  CHECK_EQUAL(float_to_half(65519.996f), 0x7bff);
  CHECK_EQUAL(float_to_half(65520.0f), 0x7c00);
  CHECK_EQUAL(float_to_half(-1e30f), 0xfc00);
  CHECK_EQUAL(float_to_half(0x1p-25f), 0);  // half of the smallest: the tie goes to zero
  CHECK_EQUAL(float_to_half(0x1.000002p-25f), 1);
  CHECK_EQUAL(float_to_half(-0.0f), 0x8000);
  CHECK_EQUAL(float_to_bfloat16(infinity), 0x7f80);
  CHECK_EQUAL(float_to_bfloat16(std::numeric_limits<float>::max()), 0x7f80);
  CHECK_EQUAL(float_to_bfloat16(-0.0f), 0x8000);
  // NaNs whose payload lies only in the bits that are dropped must not become infinite.
  for (const uint32_t nan : {0x7fc00000u, 0x7f800001u, 0xff800001u, 0x7fffffffu, 0xffffffffu}) {
    const float value = std::bit_cast<float>(nan);
    CHECK(std::isnan(half_to_float(float_to_half(value))));
    CHECK(std::isnan(bfloat16_to_float(float_to_bfloat16(value))));
    CHECK_EQUAL(float_to_half(value) >> 15, static_cast<int>(nan >> 31));
    CHECK_EQUAL(float_to_bfloat16(value) >> 15, static_cast<int>(nan >> 31));
  }
}

TEST("convert: every stored type, also where it is not aligned") {
  check_numbers<float>("F32", {1.5f, -0.0f, 0x1p-149f}, {1.5f, -0.0f, 0x1p-149f});
  check_numbers<double>("F64", {0.1, -1e300, 1e-300, 16777217.0},
                        {0.1f, -std::numeric_limits<float>::infinity(), 0.0f, 16777216.0f});
  check_numbers<uint16_t>("F16", {0x3c00, 0xc000, 0x0001, 0x7bff}, {1.0f, -2.0f, 0x1p-24f, 65504.0f});
  check_numbers<uint16_t>("BF16", {0x3f80, 0xc000, 0x0001}, {1.0f, -2.0f, 0x1p-133f});
  check_numbers<int64_t>("I64", {INT64_MIN, -1, 16777217, INT64_MAX}, {-0x1p63f, -1.0f, 16777216.0f, 0x1p63f});
  check_numbers<int32_t>("I32", {INT32_MIN, -1, 16777219}, {-0x1p31f, -1.0f, 16777220.0f});
  check_numbers<int16_t>("I16", {-32768, 32767}, {-32768.0f, 32767.0f});
  check_numbers<int8_t>("I8", {-128, 127}, {-128.0f, 127.0f});
  check_numbers<uint8_t>("U8", {0, 255}, {0.0f, 255.0f});
  check_numbers<uint8_t>("BOOL", {0, 1, 7}, {0.0f, 1.0f, 1.0f});
}

TEST("convert: parts of a tensor, and long ones in parallel") {
  std::vector<uint16_t> values(300'001);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i * 7);
  const auto* data = reinterpret_cast<const std::byte*>(values.data());
  const StoredTensor tensor{"t", "BF16", {300'001}, data, values.size() * 2};
  std::vector<float> out(values.size());
  convert_to_float(tensor, 0, 300'001, out.data());
  for (size_t i = 0; i < out.size(); ++i) CHECK_EQUAL(bits(out[i]), static_cast<uint32_t>(values[i]) << 16);
  convert_to_float(tensor, 299'999, 2, out.data());
  CHECK_EQUAL(bits(out[1]), static_cast<uint32_t>(values[300'000]) << 16);
  convert_to_float(tensor, 300'001, 0, out.data());
  CHECK_THROWS((convert_to_float(tensor, 0, 300'002, out.data()), 0), std::out_of_range, "has 300001 elements");
  CHECK_THROWS((convert_to_float(tensor, -1, 1, out.data()), 0), std::out_of_range, "has 300001 elements");
  CHECK_THROWS((convert_to_float(tensor, 1, INT64_MAX, out.data()), 0), std::out_of_range, "has 300001 elements");
  const StoredTensor other{"t", "F8_E4M3", {1}, data, 1};
  CHECK_THROWS((convert_to_float(other, 0, 1, out.data()), 0), CheckpointInvalid,
               "type \"F8_E4M3\" cannot be read as numbers");
}
