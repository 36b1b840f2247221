// Choosing tokens: sampling as a function of seed, prompt and step.
#include <ATen/ops/empty.h>

#include <cmath>
#include <limits>

#include "check.h"
#include "models/generation.h"

using namespace rkif;

namespace {

at::Tensor rows_of(const std::vector<float>& logits, int64_t rows) {
  at::Tensor tensor = at::empty({rows, static_cast<int64_t>(logits.size())}, at::kFloat);
  float* data = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < rows; ++i) std::copy(logits.begin(), logits.end(), data + i * logits.size());
  return tensor;
}

std::vector<int32_t> first(int64_t count) {
  std::vector<int32_t> rows(count);
  for (int64_t i = 0; i < count; ++i) rows[i] = static_cast<int32_t>(i);
  return rows;
}

// How often each token is drawn, over rows that are all alike.
std::vector<double> shares(const std::vector<float>& logits, const Sampling& sampling) {
  constexpr int64_t kRows = 20000;
  std::vector<int32_t> tokens = sample_tokens(rows_of(logits, kRows), sampling, first(kRows), 3);
  std::vector<double> result(logits.size());
  for (int32_t token : tokens) result[token] += 1.0 / kRows;
  return result;
}

}  // namespace

TEST("sampling: tokens come as often as softmax at the temperature says") {
  const std::vector<float> logits = {1.0f, -2.0f, 0.5f, 3.0f, 0.0f};
  for (double temperature : {0.5, 1.0, 4.0}) {
    double total = 0;
    for (float x : logits) total += std::exp(x / temperature);
    std::vector<double> drawn = shares(logits, {temperature, 1, 9, {}});
    for (size_t i = 0; i < logits.size(); ++i) {
      double p = std::exp(logits[i] / temperature) / total;
      CHECK_NEAR(drawn[i], p, 5 * std::sqrt(p * (1 - p) / 20000) + 1e-9);
    }
  }
}

TEST("sampling: top-p keeps the fewest tokens that reach it") {
  // Probabilities 0.5, 0.25, 0.125, 0.125.
  const float ln2 = std::log(2.0f);
  const std::vector<float> logits = {-3 * ln2, -1 * ln2, -3 * ln2, -2 * ln2};
  std::vector<double> drawn = shares(logits, {1, 0.7, 9, {}});
  CHECK_NEAR(drawn[1], 2.0 / 3, 0.02);
  CHECK_NEAR(drawn[3], 1.0 / 3, 0.02);
  CHECK_EQUAL(drawn[0] + drawn[2], 0.0);
  CHECK_NEAR(shares(logits, {1, 0.4, 9, {}})[1], 1, 1e-9);
  // Of equal ones the lower id comes first.
  drawn = shares(logits, {1, 0.8, 9, {}});
  CHECK(drawn[0] > 0.1);
  CHECK_EQUAL(drawn[2], 0.0);
}

TEST("sampling: draws belong to seed, prompt and step, not to the batch") {
  std::vector<float> logits(100);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = 0.01f * static_cast<float>(i);
  std::vector<int32_t> all = sample_tokens(rows_of(logits, 50), {1, 0.9, 4, {}}, first(50), 2);
  CHECK(sample_tokens(rows_of(logits, 50), {1, 0.9, 4, {}}, first(50), 2) == all);
  CHECK(sample_tokens(rows_of(logits, 2), {1, 0.9, 4, {}}, {41, 7}, 2) == (std::vector<int32_t>{all[41], all[7]}));
  CHECK(sample_tokens(rows_of(logits, 2), {1, 0.9, 4, {7, 41}}, first(2), 2) ==
        (std::vector<int32_t>{all[7], all[41]}));
  CHECK(sample_tokens(rows_of(logits, 50), {1, 0.9, 5, {}}, first(50), 2) != all);
  CHECK(sample_tokens(rows_of(logits, 50), {1, 0.9, 4, {}}, first(50), 3) != all);
}

TEST("sampling: logits that are not numbers are never drawn while there is another") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  std::vector<double> drawn = shares({nan, 1.0f, -infinity, 1.0f}, {1, 0.95, 9, {}});
  CHECK_EQUAL(drawn[0] + drawn[2], 0.0);
  CHECK_EQUAL(sample_tokens(rows_of({nan, nan}, 1), {1, 1, 9, {}}, {0}, 0)[0], 0);
}

TEST("generation: end tokens, least numbers of tokens, and what listeners are told") {
  // Row r says token r + 1 at every step but the third, where it says 0, and the fifth, where it says 5.
  auto next = [](const std::vector<int32_t>& active, const std::vector<int32_t>& tokens, int64_t step) {
    CHECK_EQUAL(tokens.size(), step == 0 ? size_t{0} : active.size());
    at::Tensor logits = at::empty({static_cast<int64_t>(active.size()), 6}, at::kFloat).zero_();
    for (size_t i = 0; i < active.size(); ++i) {
      int32_t token = step == 2 && active[i] == 1 ? 0 : step == 4 ? 5 : active[i] + 1;
      logits.select(0, static_cast<int64_t>(i)).select(0, token).fill_(1);
    }
    return logits;
  };
  GenerateOptions options;
  options.max_new_tokens = 8;
  options.end_token_ids = {0, 5};
  auto rows = generate_tokens(options, 3, 6, next);
  CHECK(rows[0] == (std::vector<int32_t>{1, 1, 1, 1, 5}));
  CHECK(rows[1] == (std::vector<int32_t>{2, 2, 0}));
  options.min_new_tokens = 3;
  rows = generate_tokens(options, 3, 6, next);
  CHECK(rows[1] == (std::vector<int32_t>{2, 2, 1, 2, 5}));  // of the equal others the first
  options.end_token_ids = {6};
  CHECK_THROWS(generate_tokens(options, 3, 6, next), std::invalid_argument, "end token is 6");
}

TEST("generation: logits without a highest number are an error, not a token") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  GenerateOptions options;
  for (const std::vector<float>& logits : {std::vector<float>{1, nan}, {infinity, 0}, {-infinity, -infinity}}) {
    auto next = [&](const std::vector<int32_t>& active, const std::vector<int32_t>&, int64_t) {
      return rows_of(logits, static_cast<int64_t>(active.size()));
    };
    CHECK_THROWS(generate_tokens(options, 2, 2, next), NotFinite, "not finite");
  }
  auto next = [&](const std::vector<int32_t>&, const std::vector<int32_t>&, int64_t) {
    return rows_of({-infinity, 2}, 1);
  };
  CHECK(generate_tokens(options, 1, 2, next)[0] == std::vector<int32_t>{1});
}
