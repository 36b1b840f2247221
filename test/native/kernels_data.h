// Vectors and settings that the kernels' tests share.
#pragma once
#include <ATen/Parallel.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/dropout.h"

namespace rkif::test {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The last one is longer than what order_statistics samples from, and no multiple of any block.
inline const std::vector<int64_t>& lengths() {
  static const std::vector<int64_t> all{1, 7, 1000, 65537, 3'000'017};
  return all;
}

// Normally distributed, mean 0; the same numbers on every machine.
inline std::vector<float> normal(int64_t n, uint32_t seed, float deviation = 1) {
  std::mt19937 random(seed);
  std::vector<float> values(n);
  // A sum of uniform numbers: std::normal_distribution differs between standard libraries.
  for (float& value : values) {
    float sum = -2;
    for (int i = 0; i < 4; ++i) sum += static_cast<float>(random() >> 8) * 0x1p-24f;
    value = deviation * std::sqrt(3.0f) * sum;
  }
  return values;
}

// As scores are: not negative, over many powers of two.
inline std::vector<float> scores(int64_t n, uint32_t seed) {
  std::vector<float> values = normal(n, seed);
  const std::vector<float> powers = normal(n, seed + 1000, 8);
  for (int64_t i = 0; i < n; ++i) values[i] = std::abs(values[i]) * std::exp2(powers[i]);
  return values;
}

// Values with a word for what is special about them.
struct Named {
  std::string name;
  std::vector<float> values;
};

template <typename Map>
Named mapped(std::string name, std::vector<float> values, Map map) {
  for (float& value : values) value = map(value);
  return {std::move(name), std::move(values)};
}

inline std::vector<uint8_t> bits(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> mask(n);
  for (uint8_t& bit : mask) bit = random() >> 31;
  return mask;
}

// Rounded to the type that values are stored in.
template <class T = Bfloat16>
std::vector<T> rounded(const std::vector<float>& values) {
  std::vector<T> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) store(values[i], out[i]);
  return out;
}

inline std::vector<float> widened(const std::vector<Bfloat16>& values) {
  std::vector<float> out;
  for (Bfloat16 value : values) out.push_back(rkif::widened(value));
  return out;
}

// Where the rows of a matrix stand, for dropout: several records, each from its first position on.
struct Places {
  Places(int64_t rows, int64_t rows_of_record, uint64_t site_key) : site_key(site_key) {
    for (int64_t i = 0; i < rows; ++i) {
      records.push_back(static_cast<uint32_t>(3 + i / rows_of_record));
      positions.push_back(static_cast<uint32_t>(i % rows_of_record));
    }
  }
  DropoutKeys keys() const { return {site_key, records.data(), positions.data()}; }

  uint64_t site_key;
  std::vector<uint32_t> records, positions;
};

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The largest |a - b| / max(|b|, floor).
inline double largest_error(const std::vector<float>& a, const std::vector<double>& b, double floor) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double error = std::abs(a[i] - b[i]) / std::max(std::abs(b[i]), floor);
    if (!(error <= worst)) worst = error;  // NaN counts
  }
  return worst;
}

// Runs with so many threads, and restores their number.
inline void with_threads(int threads, const std::function<void()>& run) {
  const int before = at::get_num_threads();
  at::set_num_threads(threads);
  try {
    run();
  } catch (...) {
    at::set_num_threads(before);
    throw;
  }
  at::set_num_threads(before);
}

}  // namespace rkif::test
