#include <algorithm>
#include <bit>
#include <map>
#include <numeric>

#include "check.h"
#include "kernels/dropout.h"
#include "kernels/order_statistics.h"
#include "kernels/radix_select.h"
#include "kernels/select.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

namespace {

std::vector<Named> make_inputs(int64_t n) {
  std::vector<Named> all;
  all.push_back({"normal", normal(n, 1)});
  all.push_back({"scores", scores(n, 2)});
  all.push_back(mapped("negative scores", scores(n, 3), [](float x) { return -x; }));
  all.push_back(mapped("ties", normal(n, 4), [](float x) { return std::round(2 * x); }));
  all.push_back(mapped("mostly zero", normal(n, 5), [](float x) { return x > 0.8f ? x : 0; }));
  all.push_back(mapped("zeros of both signs", normal(n, 6), [](float x) { return x > 1 ? x : x > 0 ? 0.0f : -0.0f; }));
  all.push_back(mapped("all equal", normal(n, 7), [](float) { return -3.25f; }));
  all.push_back(mapped("subnormal", normal(n, 8), [](float x) { return x * 1e-41f; }));
  all.push_back(mapped("narrow", normal(n, 9), [](float x) { return 1 + x * 1e-6f; }));
  all.push_back(mapped("some infinities", normal(n, 10), [](float x) { return std::abs(x) > 2 ? x * kInfinity : x; }));
  all.push_back(mapped("many infinities", normal(n, 11), [](float x) { return x > -0.5f ? kInfinity : x; }));
  Named rising{"rising", scores(n, 12)};
  std::sort(rising.values.begin(), rising.values.end());
  all.push_back(rising);
  std::reverse(rising.values.begin(), rising.values.end());
  all.push_back({"falling", rising.values});
  return all;
}

// Made once for each length: several tests use the long ones.
const std::vector<Named>& inputs(int64_t n) {
  static std::map<int64_t, std::vector<Named>> made;
  const auto found = made.find(n);
  return found != made.end() ? found->second : made.emplace(n, make_inputs(n)).first->second;
}

const std::vector<double> kAt{0, 0.2, 0.5, 0.8, 0.95, 1, 1.0 / 3};

// The result of exact arithmetic, rounded once.
float sorted_quantile(const std::vector<double>& sorted, double q) {
  const double rank = q * (static_cast<double>(sorted.size()) - 1);
  const double a = sorted[static_cast<size_t>(std::floor(rank))];
  const double b = sorted[static_cast<size_t>(std::ceil(rank))];
  const double f = rank - std::floor(rank);
  return static_cast<float>(f < 0.5 ? a + f * (b - a) : b - (b - a) * (1 - f));
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

std::vector<uint8_t> sorted_top_k(const std::vector<float>& values, int64_t k) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return values[a] > values[b]; });
  std::vector<uint8_t> mask(values.size());
  for (int64_t i = 0; i < k; ++i) mask[order[i]] = 1;
  return mask;
}

}  // namespace

TEST("quantile: equals a sort in double precision, exactly") {
  for (int64_t n : lengths()) {
    for (const Named& input : inputs(n)) {
      std::vector<double> sorted(input.values.begin(), input.values.end());
      std::sort(sorted.begin(), sorted.end());
      const std::vector<double> found = quantiles(n, input.values.data(), kAt);
      for (size_t i = 0; i < kAt.size(); ++i) {
        const double expected = sorted_quantile(sorted, kAt[i]);
        if (!same(found[i], expected)) {
          std::ostringstream message;
          message << input.name << ", n = " << n << ", q = " << kAt[i] << ": " << found[i] << ", expected " << expected;
          fail(__FILE__, __LINE__, message.str());
        }
      }
      CHECK(same(quantile(n, input.values.data(), 0.8), sorted_quantile(sorted, 0.8)));
    }
  }
}

TEST("quantile: worked by hand") {
  const std::vector<float> x{3, 1, 2, 4};
  CHECK_EQUAL(quantile(4, x.data(), 0.5), 2.5f);
  CHECK_EQUAL(quantile(4, x.data(), 0.25), 1.75f);
  CHECK_EQUAL(quantile(4, x.data(), 1), 4.0f);
}

TEST("quantile: the rank is exact beyond fp32's integers") {
  // The element of rank r is r - centre, exact in fp32 near the centre. A rank in fp32 is a multiple of 2 here.
  const int64_t n = (int64_t{1} << 25) + 3, centre = 30'198'000;
  std::vector<float> x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>((i * 9'999'991) % n - centre);
  // 0.9 * 33554434 = 30198990.6
  CHECK_EQUAL(quantile(n, x.data(), 0.9), 990.6f);
}

TEST("quantile: a NaN anywhere, of either sign, makes every quantile NaN") {
  for (int64_t n : {int64_t{1}, int64_t{7}, int64_t{65537}, int64_t{3'000'017}}) {
    for (int64_t at : {int64_t{0}, n / 2, n - 1}) {
      for (float nan : {kNaN, -kNaN, std::bit_cast<float>(0x7f800001u), std::bit_cast<float>(0xff800001u)}) {
        std::vector<float> x = normal(n, 20);
        if (n > 1) x[(at + 1) % n] = kInfinity;
        x[at] = nan;
        for (double value : quantiles(n, x.data(), {0, 0.5, 1})) CHECK(std::isnan(value));
        CHECK(contains_nan(n, x.data()));
      }
    }
  }
}

TEST("quantile: many in one call equal one call each") {
  const int64_t n = 3'000'017;
  const std::vector<float> x = scores(n, 21);
  std::vector<double> at;
  for (int i = 0; i < 101; ++i) at.push_back((i * 37 % 101) / 100.0);
  const std::vector<double> together = quantiles(n, x.data(), at);
  for (size_t i = 0; i < at.size(); i += 10) CHECK_EQUAL(together[i], quantiles(n, x.data(), {at[i]})[0]);
  CHECK(quantiles(n, x.data(), {}).empty());
}

TEST("quantile: refuses an empty vector and what is not from 0 to 1") {
  const float x = 1;
  CHECK_THROWS(quantiles(0, &x, {0.5}), std::invalid_argument, "empty");
  CHECK_THROWS(quantiles(1, &x, {1.5}), std::invalid_argument, "1.5");
  CHECK_THROWS(quantiles(1, &x, {std::nan("")}), std::invalid_argument, "0 to 1");
}

TEST("order_statistics: every rank of a vector, in any order") {
  for (const Named& input : inputs(1000)) {
    std::vector<float> sorted = input.values;
    std::sort(sorted.begin(), sorted.end());
    std::vector<int64_t> ranks;
    for (int64_t i = 0; i < 1000; ++i) ranks.push_back(i * 7 % 1000);
    const OrderStatistics found = order_statistics(1000, input.values.data(), ranks);
    for (int64_t i = 0; i < 1000; ++i) CHECK_EQUAL(found.values[i], sorted[ranks[i]]);
  }
  const float x = 1;
  CHECK_THROWS(order_statistics(1, &x, {1}), std::invalid_argument, "rank 1");
}

TEST("radix_select: a long vector without the sample") {
  const int64_t n = 3'000'017;
  for (const Named& input : inputs(n)) {
    std::vector<float> sorted = input.values;
    std::sort(sorted.begin(), sorted.end());
    const std::vector<int64_t> ranks{n - 1, n / 2, n / 2 + 1, n / 5 * 4, 0};
    std::vector<float> found(ranks.size());
    CHECK(radix_select(n, input.values.data(), ranks, found.data()));
    for (size_t i = 0; i < ranks.size(); ++i) CHECK_EQUAL(found[i], sorted[ranks[i]]);
  }
}

TEST("order_statistics: a sample that misleads costs time, not exactness") {
  // The places that are sampled hold the only large values: the sample knows nothing of the rest.
  const int64_t n = 3'000'017, samples = 32768;
  std::vector<float> x = normal(n, 22);
  for (int64_t i = 0; i < samples; ++i) {
    const int64_t begin = static_cast<int64_t>(static_cast<double>(n) * i / samples);
    x[begin + static_cast<int64_t>(mix64(i) % (n / samples))] += 100;
  }
  std::vector<float> sorted = x;
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted[n - samples] > 50 && sorted[n - samples - 1] < 50);
  const std::vector<int64_t> ranks{0, n / 2, n / 5 * 4, n - samples / 2, n - 1};
  const OrderStatistics found = order_statistics(n, x.data(), ranks);
  for (size_t i = 0; i < ranks.size(); ++i) CHECK_EQUAL(found.values[i], sorted[ranks[i]]);
}

TEST("mask_by_threshold: equals a plain loop, with its count") {
  for (int64_t n : lengths()) {
    for (const Named& input : inputs(n)) {
      if (n > 100'000 && input.name != "zeros of both signs") continue;
      std::vector<float> x = input.values;
      if (n > 1) x[n / 2] = kNaN;
      for (float threshold : {0.0f, -0.0f, x[0], 1.5f, kInfinity, -kInfinity}) {
        for (Compare compare : {Compare::kGreater, Compare::kGreaterEqual}) {
          std::vector<uint8_t> mask(n, 7), expected(n);
          int64_t count = 0;
          for (int64_t i = 0; i < n; ++i) {
            expected[i] = compare == Compare::kGreater ? x[i] > threshold : x[i] >= threshold;
            count += expected[i];
          }
          CHECK_EQUAL(mask_by_threshold(n, x.data(), threshold, compare, mask.data()), count);
          CHECK(mask == expected);
        }
      }
    }
  }
}

TEST("mask_by_threshold: a NaN threshold gives an empty mask") {
  const std::vector<float> x = normal(1000, 23);
  std::vector<uint8_t> mask(1000, 7);
  CHECK_EQUAL(mask_by_threshold(1000, x.data(), kNaN, Compare::kGreaterEqual, mask.data()), 0);
  CHECK(mask == std::vector<uint8_t>(1000, 0));
}

TEST("mask_top_k: equals a stable sort, ties by lower index") {
  for (int64_t n : lengths()) {
    for (const Named& input : inputs(n)) {
      // The long sort is slow: there one k, and few vectors.
      if (n > 100'000 && input.name != "scores" && input.name != "ties" && input.name != "mostly zero") continue;
      std::vector<int64_t> counts{0, 1, n / 5, n / 2, n - 1, n};
      if (n > 100'000) counts = {n / 5};
      for (int64_t k : counts) {
        std::vector<uint8_t> mask(n, 7);
        const float threshold = mask_top_k(n, input.values.data(), k, mask.data());
        const std::vector<uint8_t> expected = sorted_top_k(input.values, k);
        if (mask != expected)
          fail(__FILE__, __LINE__, input.name + ", n = " + std::to_string(n) + ", k = " + std::to_string(k));
        float smallest = kInfinity;
        for (int64_t i = 0; i < n; ++i)
          if (expected[i]) smallest = std::min(smallest, input.values[i]);
        CHECK_EQUAL(threshold, smallest);
      }
    }
  }
}

TEST("mask_top_k: a NaN gives an empty mask and a NaN threshold; k outside 0 to n is refused") {
  std::vector<float> x = normal(1000, 24);
  std::vector<uint8_t> mask(1000, 7);
  CHECK_THROWS(mask_top_k(1000, x.data(), 1001, mask.data()), std::invalid_argument, "1001");
  CHECK_THROWS(mask_top_k(1000, x.data(), -1, mask.data()), std::invalid_argument, "-1");
  x[999] = kNaN;
  for (int64_t k : {0, 1, 500, 1000}) {
    std::fill(mask.begin(), mask.end(), 7);
    CHECK(std::isnan(mask_top_k(1000, x.data(), k, mask.data())));
    CHECK(mask == std::vector<uint8_t>(1000, 0));
  }
}

TEST("select: the same with one, two and five threads") {
  for (const Named& input : inputs(3'000'017)) {
    const int64_t n = input.values.size();
    std::vector<double> first;
    std::vector<uint8_t> first_mask;
    for (int threads : {1, 2, 5}) {
      with_threads(threads, [&] {
        std::vector<double> found = quantiles(n, input.values.data(), {0.1, 0.8});
        std::vector<uint8_t> mask(n);
        mask_top_k(n, input.values.data(), n / 3, mask.data());
        if (threads == 1) {
          first = found;
          first_mask = mask;
        }
        CHECK(same(found[0], first[0]) && same(found[1], first[1]));
        CHECK(mask == first_mask);
      });
    }
  }
}
