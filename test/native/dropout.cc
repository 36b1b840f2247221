// Dropout masks: the share they drop, that they belong to records, and that no two places share one.
#include "kernels/dropout.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <functional>
#include <stdexcept>

#include "check.h"
#include "kernels/attention.h"
#include "kernels_data.h"

using namespace rkif;
using namespace rkif::test;

namespace {

const DropoutCounters kCounters{20240607, 3, 1, 250};

std::vector<DropoutRow> row_keys(uint64_t site_key, uint32_t record, int64_t rows, uint64_t first = 0) {
  std::vector<DropoutRow> keys;
  for (int64_t i = 0; i < rows; i++) keys.push_back(dropout_row(site_key, record, first + i));
  return keys;
}

std::vector<float> mask(int64_t columns, const std::vector<DropoutRow>& keys, double rate) {
  std::vector<float> x(keys.size() * columns, 1.0f);
  const DropoutMask of_rate(rate);
  for (size_t i = 0; i < keys.size(); i++) drop_row(columns, &x[i * columns], keys[i], of_rate, &x[i * columns]);
  return x;
}

// Correlation of two masks' kept elements, times sqrt(n): normal with deviation 1 where they are independent.
double correlation(const std::vector<float>& a, const std::vector<float>& b) {
  double n = a.size(), in_a = 0, in_b = 0, in_both = 0;
  for (size_t i = 0; i < a.size(); i++) {
    in_a += a[i] != 0;
    in_b += b[i] != 0;
    in_both += a[i] != 0 && b[i] != 0;
  }
  double pa = in_a / n, pb = in_b / n;
  return (in_both / n - pa * pb) / std::sqrt(pa * (1 - pa) * pb * (1 - pb)) * std::sqrt(n);
}

}  // namespace

TEST("dropout: mix64 is SplitMix64") {
  // The generator's published first numbers from seed 1234567; its state grows by the constant that mix64 adds.
  CHECK_EQUAL(mix64(1234567), 6457827717110365317ull);
  CHECK_EQUAL(mix64(1234567 + 0x9e3779b97f4a7c15ull), 3203168211198807973ull);
  CHECK_EQUAL(mix64(1234567 + 2 * 0x9e3779b97f4a7c15ull), 9817491932198370423ull);
}

TEST("dropout: each input bit of mix32 flips half of the output bits") {
  const int samples = 20000;
  for (int bit = 0; bit < 32; bit++) {
    int flipped[32] = {};
    for (uint32_t i = 0; i < samples; i++) {
      uint32_t x = i * 2654435761u + 12345, change = mix32(x) ^ mix32(x ^ (1u << bit));
      for (int b = 0; b < 32; b++) flipped[b] += change >> b & 1;
    }
    for (int b = 0; b < 32; b++) CHECK_NEAR(flipped[b] / double(samples), 0.5, 0.03);
  }
}

TEST("dropout: kept elements are scaled, dropped ones are zero, and rate 0 changes nothing") {
  const Places places(40, 9, dropout_site_key(kCounters, 7));
  const auto with_rate = [&](double rate) { return MaskedMatrix{40, 37, places.keys(), rate}; };
  std::vector<float> in(40 * 37), out(in.size()), in_place;
  for (size_t i = 0; i < in.size(); i++) in[i] = 0.01f * (static_cast<float>(i) - 700.5f);
  in_place = in;
  dropout_rows(with_rate(0.25), in.data(), out.data());
  dropout_rows(with_rate(0.25), in_place.data(), in_place.data());
  CHECK(out == in_place);
  for (int64_t i = 0; i < 40; i++) {
    for (int64_t j = 0; j < 37; j++) {
      bool kept = dropout_keeps(places.keys()[i], j, dropout_threshold(0.25));
      CHECK_NEAR(out[i * 37 + j], kept ? in[i * 37 + j] / 0.75 : 0.0, 1e-6);
      CHECK(kept == (out[i * 37 + j] != 0));
    }
  }
  dropout_rows(with_rate(0), in.data(), out.data());
  CHECK(out == in);
  CHECK_THROWS(dropout_rows(with_rate(1), in.data(), out.data()), std::invalid_argument, "dropout rate is 1.0");
}

TEST("dropout: the dropped share is the rate, within 4 deviations of a million draws") {
  const int64_t rows = 1000, columns = 1000;
  for (double rate : {0.05, 0.1, 0.5}) {
    for (uint32_t site : {0u, 1u, 63u}) {
      double dropped = 0;
      for (float x : mask(columns, row_keys(dropout_site_key(kCounters, site), 5, rows), rate)) dropped += x == 0;
      double n = rows * columns;
      CHECK_NEAR(dropped / n, rate, 4 * std::sqrt(rate * (1 - rate) / n));
    }
  }
}

TEST("dropout: a record's mask is the same wherever it stands and for any number of threads") {
  const int64_t columns = 512;
  const uint64_t site = dropout_site_key(kCounters, 3);
  const auto mask_of = [&](const Places& places) {
    const auto rows = static_cast<int64_t>(places.records.size());
    std::vector<float> x(rows * columns, 1.0f);
    dropout_rows({rows, columns, places.keys(), 0.1}, x.data(), x.data());
    return x;
  };
  // The third of a batch's records, and it alone.
  const Places batch(600, 200, site);
  Places alone(200, 200, site);
  alone.records = {batch.records.begin() + 400, batch.records.end()};
  std::vector<float> expected, together;
  with_threads(1, [&] { expected = mask_of(alone); });
  with_threads(4, [&] { together = mask_of(batch); });
  CHECK(std::equal(expected.begin(), expected.end(), together.begin() + 400 * columns));
  CHECK(!std::equal(expected.begin(), expected.end(), together.begin()));
}

TEST("dropout: masks of neighbouring places are independent") {
  const int64_t rows = 1000, columns = 1000;
  const double rate = 0.3, limit = 4.5;
  auto at_place = [&](DropoutCounters counters, uint32_t site, uint32_t record, uint64_t first) {
    return mask(columns, row_keys(dropout_site_key(counters, site), record, rows, first), rate);
  };
  std::vector<float> base = at_place(kCounters, 8, 40, 0);
  auto changed = [](const std::function<void(DropoutCounters&)>& change) {
    DropoutCounters counters = kCounters;
    change(counters);
    return counters;
  };
  CHECK_NEAR(correlation(base, at_place(kCounters, 9, 40, 0)), 0, limit);
  CHECK_NEAR(correlation(base, at_place(kCounters, 8, 41, 0)), 0, limit);
  CHECK_NEAR(correlation(base, at_place(kCounters, 8, 40, 1)), 0, limit);
  CHECK_NEAR(correlation(base, at_place(kCounters, 8, 40, uint64_t{1} << 32)), 0, limit);  // the next head
  CHECK_NEAR(correlation(base, at_place(changed([](DropoutCounters& c) { c.step++; }), 8, 40, 0)), 0, limit);
  CHECK_NEAR(correlation(base, at_place(changed([](DropoutCounters& c) { c.loop++; }), 8, 40, 0)), 0, limit);
  CHECK_NEAR(correlation(base, at_place(changed([](DropoutCounters& c) { c.task++; }), 8, 40, 0)), 0, limit);
  CHECK_NEAR(correlation(base, at_place(changed([](DropoutCounters& c) { c.seed++; }), 8, 40, 0)), 0, limit);
  // Neighbouring columns, and columns whose numbers differ in one bit.
  for (int64_t distance : {1, 2, 3, 16, 64, 512}) {
    std::vector<float> shifted(base.begin() + distance, base.end());
    CHECK_NEAR(correlation(std::vector<float>(base.begin(), base.end() - distance), shifted), 0, limit);
  }
}

TEST("dropout: rows drop as many elements as chance would have it") {
  // The number of dropped elements of a row is binomial: its variance over rows tells rows that are too alike or too
  // different.
  const int64_t rows = 4000, columns = 256;
  const double rate = 0.1;
  uint64_t site = dropout_site_key(kCounters, 2);
  std::vector<DropoutRow> keys;
  for (int64_t i = 0; i < rows; i++) keys.push_back(attention_dropout_row(site, i / 1000, i / 250 % 4, i % 250));
  std::vector<float> masks = mask(columns, keys, rate);
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < rows; i++) {
    double dropped = std::count(masks.begin() + i * columns, masks.begin() + (i + 1) * columns, 0.0f);
    sum += dropped;
    squares += dropped * dropped;
  }
  double variance = squares / rows - sum / rows * (sum / rows);
  CHECK_NEAR(variance / (columns * rate * (1 - rate)), 1, 4.5 * std::sqrt(2.0 / rows));
}
