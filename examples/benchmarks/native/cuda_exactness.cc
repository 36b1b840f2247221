#include "cuda_exactness.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "cuda_vectors.h"
#include "kernels/select.h"

namespace rkif::benchmark {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
const std::vector<double> kQuantiles{0, 0.2, 1.0 / 3, 0.5, 0.8, 0.9999, 1};

struct Input {
  std::string name;
  std::vector<float> values;
};

template <class Change>
std::vector<float> changed(std::vector<float> values, Change change) {
  for (float& value : values) value = change(value);
  return values;
}

std::vector<float> with(std::vector<float> values, int64_t place, float value) {
  values[static_cast<size_t>(place)] = value;
  return values;
}

std::vector<Input> inputs_of(int64_t n) {
  std::mt19937_64 random(static_cast<uint64_t>(n));
  std::normal_distribution<float> distribution;
  std::vector<float> normal(static_cast<size_t>(n));
  for (float& value : normal) value = distribution(random);
  std::vector<Input> inputs{
      {"normal", normal},
      {"scores", changed(normal, [](float x) { return std::abs(x * x * x) * 1e-9f; })},
      {"ties", changed(normal, [](float x) { return std::round(2 * x); })},
      {"mostly zero", changed(normal, [](float x) { return x > 0.8f ? x : 0; })},
      {"zeros of both signs", changed(normal, [](float x) { return x > 1   ? x
                                                                   : x > 0 ? 0.0f
                                                                           : -0.0f; })},
      {"all equal", changed(normal, [](float) { return -3.25f; })},
      {"subnormal", changed(normal, [](float x) { return x * 1e-41f; })},
      {"narrow", changed(normal, [](float x) { return 1 + x * 1e-6f; })},
      {"infinities", changed(normal, [](float x) { return x > 2    ? kInfinity
                                                          : x < -1 ? -kInfinity
                                                                   : x; })},
      {"NaN first", with(normal, 0, kNaN)},
      {"NaN last", with(normal, n - 1, -kNaN)},
  };
  std::sort(normal.begin(), normal.end());
  inputs.push_back({"rising", std::move(normal)});
  return inputs;
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// What is expected, from the values in order.
class Sorted {
 public:
  explicit Sorted(std::vector<float> values) : values_(std::move(values)) {
    has_nan_ = std::any_of(values_.begin(), values_.end(), [](float x) { return std::isnan(x); });
    if (!has_nan_) std::sort(values_.begin(), values_.end());
  }

  bool has_nan() const { return has_nan_; }
  float at(int64_t rank) const { return values_[static_cast<size_t>(rank)]; }
  double quantile(double q) const {
    if (has_nan_) return kNaN;
    const QuantileRank rank = quantile_rank(static_cast<int64_t>(values_.size()), q);
    return interpolate(at(rank.below), at(rank.above()), rank.fraction);
  }

 private:
  std::vector<float> values_;
  bool has_nan_;
};

class Checks {
 public:
  Checks(const Device& device, const Input& input, Exactness& found)
      : kernels_(*device.kernels),
        input_(input),
        n_(static_cast<int64_t>(input.values.size())),
        sorted_(input.values),
        values_(input.values),
        mask_(n_),
        found_(found) {}

  void quantiles() {
    const Buffer<double> results(static_cast<int64_t>(kQuantiles.size()));
    kernels_.quantiles(n_, values_.data(), kQuantiles, results.data());
    const std::vector<double> computed = results.read();
    for (size_t i = 0; i < kQuantiles.size(); ++i) {
      expect(computed[i], sorted_.quantile(kQuantiles[i]), "quantile " + std::to_string(kQuantiles[i]));
    }
  }

  void mask_by_quantile(Compare compare) {
    const Buffer<float> threshold(1);
    kernels_.mask_by_quantile({n_}, values_.data(), 0.8, compare, mask_.data(), threshold.data());
    const auto expected = static_cast<float>(sorted_.quantile(0.8));
    expect(threshold.read()[0], expected, "threshold");
    expect_mask("mask by quantile",
                [&](float x, int64_t) { return compare == Compare::kGreater ? x > expected : x >= expected; });
  }

  void mask_top_k(int64_t k) {
    const Buffer<float> threshold(1);
    kernels_.mask_top_k({{n_, k}}, values_.data(), mask_.data(), threshold.data());
    if (sorted_.has_nan()) return expect_mask("top-k of NaN", [](float, int64_t) { return false; });
    const float smallest = sorted_.at(n_ - k);
    expect(threshold.read()[0], smallest, "top-k's threshold");
    // Equal values by lower index first.
    int64_t ties = k;
    for (float value : input_.values) ties -= value > smallest;
    expect_mask("top-k", [&, ties](float x, int64_t) mutable { return x > smallest || (x == smallest && ties-- > 0); });
  }

 private:
  void expect(double computed, double expected, const std::string& what) {
    ++found_.checked;
    if (!same(computed, expected)) {
      wrong(what + " is " + std::to_string(computed) + ", expected " + std::to_string(expected));
    }
  }

  template <class Expected>
  void expect_mask(const std::string& what, Expected expected) {
    ++found_.checked;
    const std::vector<uint8_t> computed = mask_.read();
    int64_t different = 0;
    for (int64_t i = 0; i < n_; ++i) {
      const auto place = static_cast<size_t>(i);
      different += (computed[place] != 0) != expected(input_.values[place], i);
    }
    if (different > 0) wrong(what + ": " + std::to_string(different) + " bits differ");
  }

  void wrong(const std::string& what) {
    found_.wrong.push_back(input_.name + ", " + std::to_string(n_) + " elements: " + what);
  }

  const Kernels& kernels_;
  const Input& input_;
  int64_t n_;
  Sorted sorted_;
  Buffer<float> values_;
  Buffer<uint8_t> mask_;
  Exactness& found_;
};

}  // namespace

void check_against_sort(const Device& device, Exactness& found) {
  // From 2^23 elements on a quantile samples first (kernels/cuda/radix_select.h).
  for (int64_t n : {1, 2, 7, 1000, 4099, 1'000'003, 9'000'001}) {
    for (const Input& input : inputs_of(n)) {
      Checks checks(device, input, found);
      checks.quantiles();
      for (Compare compare : {Compare::kGreater, Compare::kGreaterEqual}) checks.mask_by_quantile(compare);
      for (int64_t k : {int64_t{1}, n / 5, n}) {
        if (k >= 1) checks.mask_top_k(k);
      }
    }
  }
}

void check_by_counting(const Device& device, int64_t n, Exactness& found) {
  const Buffer<float> values(n);
  const Buffer<double> results(static_cast<int64_t>(kQuantiles.size()));
  for (Values kind : {Values::kNormal, Values::kScores, Values::kTies}) {
    fill(n, kind, 1, 31, values.data());
    device.kernels->quantiles(n, values.data(), kQuantiles, results.data());
    const std::vector<double> computed = results.read();
    for (size_t i = 0; i < kQuantiles.size(); ++i) {
      const QuantileRank rank = quantile_rank(n, kQuantiles[i]);
      const Counts counts = count(n, values.data(), computed[i]);
      ++found.checked;
      // Between two ranks: what is below is below the upper one, and the lower one is not above.
      const bool between = counts.below <= rank.above() && counts.not_above > rank.below;
      const bool on_rank = counts.below <= rank.below && counts.not_above > rank.below;
      if (rank.fraction > 0 ? between : on_rank) continue;
      found.wrong.push_back(std::to_string(n) + " elements, quantile " + std::to_string(kQuantiles[i]) + ": " +
                            std::to_string(counts.below) + " are below it and " + std::to_string(counts.not_above) +
                            " not above, its rank is " + std::to_string(rank.below));
    }
  }
}

}  // namespace rkif::benchmark
