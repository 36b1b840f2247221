#include "kernels/cuda/select.h"

#include <algorithm>
#include <bit>
#include <string>

#include "kernels/cuda/radix_select.h"
#include "kernels/cuda/segment_select.h"
#include "kernels/dropout.h"
#include "kernels/mask_rows.h"
#include "slices.h"

using namespace rkif;
using namespace rkif::test;

namespace {

std::vector<Named> inputs(int64_t n) {
  std::vector<Named> all;
  all.push_back({"normal", normal(n, 1)});
  all.push_back({"scores", scores(n, 2)});
  all.push_back(mapped("ties", normal(n, 4), [](float x) { return std::round(2 * x); }));
  all.push_back(mapped("mostly zero", normal(n, 5), [](float x) { return x > 0.8f ? x : 0; }));
  all.push_back(mapped("zeros of both signs", normal(n, 6), [](float x) { return x > 1 ? x : x > 0 ? 0.0f : -0.0f; }));
  all.push_back(mapped("all equal", normal(n, 7), [](float) { return -3.25f; }));
  all.push_back(mapped("subnormal", normal(n, 8), [](float x) { return x * 1e-41f; }));
  all.push_back(mapped("narrow", normal(n, 9), [](float x) { return 1 + x * 1e-6f; }));
  all.push_back(mapped("many infinities", normal(n, 11), [](float x) {
    return x > -0.5f ? kInfinity : x < -1 ? -kInfinity : x;
  }));
  Named rising{"rising", scores(n, 12)};
  std::sort(rising.values.begin(), rising.values.end());
  all.push_back(rising);
  return all;
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// Vectors of all kinds behind each other, more than one launch takes, with one that is no block's work among them.
struct Parts {
  std::vector<Named> all;
  std::vector<float> values;
  std::vector<int64_t> lengths;

  Parts() {
    for (int64_t n : {1, 2, 7, 256, 1000, 4099}) {
      for (Named& input : inputs(n)) add(std::move(input));
      if (n == 7) add({"long", scores(cuda::kLongestSegment + 1, 3)});
      for (float nan : {kNaN, -kNaN}) {
        Named broken{"NaN", normal(n, 10)};
        broken.values[n / 2] = nan;
        add(std::move(broken));
      }
    }
    for (int64_t n = 1; n < 70; ++n) add({"short", normal(n, 13)});
  }
  void add(Named part) {
    lengths.push_back(static_cast<int64_t>(part.values.size()));
    values.insert(values.end(), part.values.begin(), part.values.end());
    all.push_back(std::move(part));
  }
  int64_t size() const { return static_cast<int64_t>(values.size()); }
};

// find(part, mask) is the CPU's threshold and mask of each.
template <class Find>
void check_parts(const Parts& parts, const std::vector<uint8_t>& mask, const std::vector<float>& thresholds,
                 const Find& find) {
  int64_t start = 0;
  for (size_t i = 0; i < parts.all.size(); start += parts.lengths[i++]) {
    std::vector<uint8_t> expected(parts.lengths[i], 7);
    const float threshold = find(i, expected.data());
    const bool found = std::equal(expected.begin(), expected.end(), mask.begin() + start);
    if (found && same(thresholds[i], threshold)) continue;
    std::ostringstream message;
    message << parts.all[i].name << ", part " << i << " of " << parts.lengths[i] << ": threshold " << thresholds[i]
            << ", expected " << threshold << (found ? "" : "; the masks differ");
    fail(__FILE__, __LINE__, message.str());
  }
}

// With the sample, however short the vector is.
std::vector<double> sampled_quantiles(const std::vector<float>& x, const std::vector<double>& at) {
  const auto n = static_cast<int64_t>(x.size());
  std::vector<cuda::Wanted> wanted;
  for (double q : at) {
    const QuantileRank rank = quantile_rank(n, q);
    wanted.push_back({rank.below, rank.fraction, true});
  }
  std::vector<double> results(at.size(), -7);
  cuda::select_ranks(cuda_context(), n, x.data(), wanted, {.results = results.data()}, 1);
  return results;
}

void check_quantiles(const Named& input, const std::vector<double>& found, const std::vector<double>& at) {
  const std::vector<double> expected = quantiles(static_cast<int64_t>(input.values.size()), input.values.data(), at);
  for (size_t i = 0; i < at.size(); ++i) {
    if (same(found[i], expected[i])) continue;
    std::ostringstream message;
    message << input.name << ", n = " << input.values.size() << ", q = " << at[i] << ": " << found[i] << ", expected "
            << expected[i];
    fail(__FILE__, __LINE__, message.str());
  }
}

}  // namespace

TEST("cuda quantiles: the CPU's, exactly, whatever the alignment, with and without a sample") {
  const cuda::Context context = cuda_context();
  const std::vector<double> at{0, 0.2, 0.5, 0.8, 1, 1.0 / 3};
  for (int64_t n : {1, 2, 7, 1000, 4099, 20001}) {
    uint64_t order = 0;
    for (const Named& input : inputs(n)) {
      emulation::set_order(order++ % 3);
      Slice<float> slice(input.values, static_cast<int64_t>(order % 4));
      std::vector<double> found(at.size(), -7);
      cuda::quantiles(context, n, slice.data(), at, found.data());
      check_quantiles(input, found, at);
      check_quantiles(input, sampled_quantiles(input.values, at), at);
    }
  }
  emulation::set_order(0);
}

TEST("cuda quantiles: long vectors with a sample, in every order of threads") {
  const std::vector<double> at{0.8, 0.9999};
  for (const Named& input : inputs(1'000'003)) {
    if (input.name == "normal") {
      in_thread_orders([&] { check_quantiles(input, sampled_quantiles(input.values, at), at); });
    } else {
      check_quantiles(input, sampled_quantiles(input.values, at), at);
    }
  }
}

TEST("cuda quantiles: a sample that misleads, and ties at an edge, cost time and not exactness") {
  // The places that are sampled hold the only large values: the sample knows nothing of the rest.
  const int64_t n = 640'000, samples = n / 64;
  Named misleading{"misleading", normal(n, 22)};
  for (int64_t i = 0; i < samples; ++i) {
    const auto begin = static_cast<int64_t>(static_cast<double>(n) * static_cast<double>(i) / samples);
    misleading.values[begin + static_cast<int64_t>(mix64(i) % (n / samples))] += 100;
  }
  const std::vector<double> at{0, 0.5, 1 - 0.5 / 64};
  check_quantiles(misleading, sampled_quantiles(misleading.values, at), at);
  // Half of all are equal, and the wanted rank is hard by their end: they do not fit where copies go.
  Named edge = mapped("edge", normal(n, 23), [](float x) { return x > 0 ? x : 0; });
  const auto zeros = std::count(edge.values.begin(), edge.values.end(), 0.0f);
  const std::vector<double> by_edge{static_cast<double>(zeros - 1) / (n - 1), (zeros - 0.5) / (n - 1)};
  check_quantiles(edge, sampled_quantiles(edge.values, by_edge), by_edge);
}

TEST("cuda quantiles: a NaN anywhere, of either sign, makes every quantile NaN; errors are the CPU's") {
  const cuda::Context context = cuda_context();
  const std::vector<double> at{0, 0.5, 1};
  for (int64_t n : {int64_t{1}, int64_t{7}, int64_t{5000}}) {
    for (int64_t place : {int64_t{0}, n / 2, n - 1}) {
      for (float nan : {kNaN, -kNaN, std::bit_cast<float>(0x7f800001u), std::bit_cast<float>(0xff800001u)}) {
        std::vector<float> x = normal(n, 20);
        if (n > 1) x[(place + 1) % n] = kInfinity;
        x[place] = nan;
        std::vector<double> found(3);
        cuda::quantiles(context, n, x.data(), at, found.data());
        for (double value : found) CHECK(std::isnan(value));
        if (n > 7) {
          for (double value : sampled_quantiles(x, at)) CHECK(std::isnan(value));
        }
      }
    }
  }
  const float x = 1;
  double result = 0;
  CHECK_THROWS(cuda::quantiles(context, 0, &x, {}, &result), std::invalid_argument, "empty");
  CHECK_THROWS(cuda::quantiles(context, 1, &x, {1.5}, &result), std::invalid_argument, "1.5");
}

TEST("cuda mask_by_quantile: the CPU's threshold and mask") {
  const cuda::Context context = cuda_context();
  for (int64_t n : {1, 33, 20001}) {
    for (Named& input : inputs(n)) {
      for (Compare compare : {Compare::kGreater, Compare::kGreaterEqual}) {
        if (compare == Compare::kGreater && n > 1) input.values[n / 3] = input.name == "narrow" ? kNaN : 1;
        const float expected_threshold = quantile(n, input.values.data(), 0.8);
        std::vector<uint8_t> expected(n);
        mask_by_threshold(n, input.values.data(), expected_threshold, compare, expected.data());
        Slice<float> values(input.values, n % 3);
        Slice<uint8_t> mask(std::vector<uint8_t>(n, 7), n % 3);
        float threshold = -7;
        cuda::mask_by_quantile(context, {n}, values.data(), 0.8, compare, mask.data(), &threshold);
        CHECK(same(threshold, expected_threshold));
        CHECK(mask.values() == expected);
      }
    }
  }
}

TEST("cuda mask_top_k: the CPU's, ties by lower index; a NaN gives an empty mask") {
  const cuda::Context context = cuda_context();
  for (int64_t n : {1, 33, 1000, 20001}) {
    uint64_t order = 0;
    for (Named& input : inputs(n)) {
      for (int64_t k : {int64_t{0}, int64_t{1}, n / 5, n / 2, n - 1, n}) {
        if (n > 1000 && (k <= 1 || k >= n - 1)) continue;
        emulation::set_order(order++ % 3);
        std::vector<uint8_t> expected(n);
        const float expected_threshold = mask_top_k(n, input.values.data(), k, expected.data());
        Slice<float> values(input.values, k % 2);
        Slice<uint8_t> mask(std::vector<uint8_t>(n, 7), 0);
        float threshold = -7;
        cuda::mask_top_k(context, {{n, k}}, values.data(), mask.data(), &threshold);
        CHECK_EQUAL(threshold, expected_threshold);
        if (mask.values() != expected) {
          fail(__FILE__, __LINE__, input.name + ", n = " + std::to_string(n) + ", k = " + std::to_string(k));
        }
      }
    }
    std::vector<float> x = normal(n, 24);
    x[n / 2] = -kNaN;
    for (int64_t k : {int64_t{0}, n}) {
      std::vector<uint8_t> mask(n, 7);
      float threshold = 0;
      cuda::mask_top_k(context, {{n, k}}, x.data(), mask.data(), &threshold);
      CHECK(std::isnan(threshold));
      CHECK(mask == std::vector<uint8_t>(n, 0));
    }
  }
  emulation::set_order(0);
  float threshold = 0;
  cuda::mask_top_k(context, {{0, 0}}, nullptr, nullptr, &threshold);
  CHECK_EQUAL(threshold, kInfinity);
  CHECK_THROWS(cuda::mask_top_k(context, {{3, 4}}, nullptr, nullptr, &threshold), std::invalid_argument, "k is 4");
}

TEST("cuda mask_by_quantile: parts of a vector, each with the CPU's threshold and mask") {
  const Parts parts;
  for (double at : {0.0, 0.5, 0.8, 0.9137, 1.0}) {
    for (Compare compare : {Compare::kGreater, Compare::kGreaterEqual}) {
      if (compare == Compare::kGreater && at != 0.8) continue;
      const int64_t offset = at == 0.8 ? 1 : 0;
      emulation::set_order(at == 0.5 ? 1 : 0);
      Slice<float> values(parts.values, offset);
      Slice<uint8_t> mask(std::vector<uint8_t>(parts.size(), 7), offset);
      std::vector<float> thresholds(parts.all.size(), -7);
      cuda::mask_by_quantile(cuda_context(), parts.lengths, values.data(), at, compare, mask.data(), thresholds.data());
      check_parts(parts, mask.values(), thresholds, [&](size_t i, uint8_t* expected) {
        const std::vector<float>& part = parts.all[i].values;
        const float threshold = quantile(parts.lengths[i], part.data(), at);
        mask_by_threshold(parts.lengths[i], part.data(), threshold, compare, expected);
        return threshold;
      });
    }
  }
  emulation::set_order(0);
  float threshold = 0;
  CHECK_THROWS(cuda::mask_by_quantile(cuda_context(), {1, 0}, &threshold, 0.5, Compare::kGreater, nullptr, &threshold),
               std::invalid_argument, "empty");
}

TEST("cuda mask_top_k: parts of a vector, each with the CPU's threshold and mask") {
  const Parts parts;
  for (int share : {0, 1, 2, 5, 100}) {
    std::vector<TopK> wanted;
    for (int64_t n : parts.lengths)
      wanted.push_back({n, share == 0 ? 0 : share == 100 ? std::max(n - 1, n % 2) : n / share});
    emulation::set_order(share == 5 ? 2 : 0);
    Slice<float> values(parts.values, share % 4);
    Slice<uint8_t> mask(std::vector<uint8_t>(parts.size(), 7), share % 3);
    std::vector<float> thresholds(parts.all.size(), -7);
    cuda::mask_top_k(cuda_context(), wanted, values.data(), mask.data(), thresholds.data());
    check_parts(parts, mask.values(), thresholds, [&](size_t i, uint8_t* expected) {
      return mask_top_k(wanted[i].n, parts.all[i].values.data(), wanted[i].k, expected);
    });
  }
  emulation::set_order(0);
  float threshold = 0;
  CHECK_THROWS(cuda::mask_top_k(cuda_context(), {{1, 0}, {3, 4}}, &threshold, nullptr, &threshold),
               std::invalid_argument, "k is 4");
}

TEST("cuda count_bits: bytes that are not 0, whatever the alignment") {
  const cuda::Context context = cuda_context();
  for (int64_t n : cuda_lengths()) {
    for (int offset : {0, 1, 15}) {
      std::vector<uint8_t> given = bits(n, 8);
      if (n > 31) given[n / 2] = 255, given[n / 3] = 128;
      Slice<uint8_t> mask(given, offset);
      int64_t found = -7;
      cuda::count_bits(context, n, mask.data(), &found);
      CHECK_EQUAL(found, n - std::count(given.begin(), given.end(), 0));
    }
  }
}

TEST("cuda mask_rows: the CPU's, alone and of many matrices; a sum that is not a number leaves no row") {
  const cuda::Context context = cuda_context();
  for (double at : {0.0, 0.7, 1.0}) {
    std::vector<RowMatrix> matrices;
    std::vector<float> all_sums, all_values, all_expected;
    for (int64_t rows : {1, 2, 8, 101}) {
      for (int64_t columns : {1, 5, 70}) {
        std::vector<float> sums = normal(rows, 7);
        if (rows == 8 && columns == 5) sums[3] = kNaN;
        std::vector<float> values = normal(rows * columns, 8), expected = values;
        mask_rows(rows, columns, expected.data(), sums.data(), at);
        for (int i = 0; i < 10; ++i) {
          matrices.push_back({rows, columns});
          all_sums.insert(all_sums.end(), sums.begin(), sums.end());
          all_values.insert(all_values.end(), values.begin(), values.end());
          all_expected.insert(all_expected.end(), expected.begin(), expected.end());
        }
        cuda::mask_rows(context, {{rows, columns}}, values.data(), sums.data(), at);
        CHECK(same_bits(values, expected));
      }
    }
    CHECK(matrices.size() > 112);  // two launches
    cuda::mask_rows(context, matrices, all_values.data(), all_sums.data(), at);
    CHECK(same_bits(all_values, all_expected));
  }
}
