// Choosing tokens: sampling as a function of seed, prompt and step.
#include <ATen/ops/empty.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <memory>

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

// Rows of the prompts, all in one step.
std::vector<GenerationRow> in_step(int64_t step, const std::vector<int32_t>& prompts) {
  std::vector<GenerationRow> rows;
  for (int32_t prompt : prompts) rows.push_back({prompt, 0, 0, 1, step});
  return rows;
}

std::vector<GenerationRow> first(int64_t count, int64_t step) {
  std::vector<int32_t> prompts(count);
  for (int64_t i = 0; i < count; ++i) prompts[i] = static_cast<int32_t>(i);
  return in_step(step, prompts);
}

// Answers of prompts of these lengths.
std::vector<std::vector<int32_t>> generate(GenerateOptions& options, const std::vector<int32_t>& lengths,
                                           int64_t vocabulary, const NextLogits& next) {
  options.input_lengths = lengths;
  Schedule schedule(lengths, {options.batch_tokens, options.batch_rows});
  return generate_tokens(options, schedule, vocabulary, next);
}

// How often each token is drawn, over rows that are all alike.
std::vector<double> shares(const std::vector<float>& logits, const Sampling& sampling) {
  constexpr int64_t kRows = 20000;
  std::vector<int32_t> tokens = sample_tokens(rows_of(logits, kRows), sampling, first(kRows, 3));
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
  auto draw = [&](const std::vector<GenerationRow>& rows, const Sampling& sampling) {
    return sample_tokens(rows_of(logits, static_cast<int64_t>(rows.size())), sampling, rows);
  };
  std::vector<int32_t> all = draw(first(50, 2), {1, 0.9, 4, {}});
  CHECK(draw(first(50, 2), {1, 0.9, 4, {}}) == all);
  CHECK(draw(in_step(2, {41, 7}), {1, 0.9, 4, {}}) == (std::vector<int32_t>{all[41], all[7]}));
  CHECK(draw(first(2, 2), {1, 0.9, 4, {7, 41}}) == (std::vector<int32_t>{all[7], all[41]}));
  CHECK(draw(first(50, 2), {1, 0.9, 5, {}}) != all);
  CHECK(draw(first(50, 3), {1, 0.9, 4, {}}) != all);
  // Rows of one call are in steps of their own.
  std::vector<int32_t> later = draw(first(50, 3), {1, 0.9, 4, {}});
  std::vector<GenerationRow> mixed = in_step(3, {41, 7});
  mixed[1].step = 2;
  CHECK(draw(mixed, {1, 0.9, 4, {}}) == (std::vector<int32_t>{later[41], all[7]}));
}

TEST("sampling: logits that are not numbers are never drawn while there is another") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  std::vector<double> drawn = shares({nan, 1.0f, -infinity, 1.0f}, {1, 0.95, 9, {}});
  CHECK_EQUAL(drawn[0] + drawn[2], 0.0);
  CHECK_EQUAL(sample_tokens(rows_of({nan, nan}, 1), {1, 1, 9, {}}, first(1, 0))[0], 0);
}

TEST("generation: what all prompts begin with is shared, but for two tokens of each and where that is little") {
  const std::vector<int32_t> text{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  const auto shared = [&](const std::vector<std::vector<int32_t>>& ends, size_t alike) {
    std::vector<int32_t> ids, lengths;
    for (const std::vector<int32_t>& end : ends) {
      ids.insert(ids.end(), text.begin(), text.begin() + static_cast<int64_t>(alike));
      ids.insert(ids.end(), end.begin(), end.end());
      lengths.push_back(static_cast<int32_t>(alike + end.size()));
    }
    return shared_tokens(ids, lengths);
  };
  CHECK_EQUAL(shared({{20, 1, 2}, {21, 3}, {22, 1, 2, 3}}, 12), 12);
  CHECK_EQUAL(shared({{20, 1, 2}, {20, 3, 4, 5}, {20, 9, 9}}, 10), 11);
  CHECK_EQUAL(shared({{20, 1, 2}, {21}}, 12), 11);
  CHECK_EQUAL(shared({{}, {21, 5}}, 12), 10);
  CHECK_EQUAL(shared({{}, {}}, 12), 10);
  CHECK_EQUAL(shared({{1, 2}, {2, 3}}, 8), 8);
  CHECK_EQUAL(shared({{1, 2}, {2, 3}}, 7), 0);
  CHECK_EQUAL(shared({{1}, {}}, 9), 0);
  CHECK_EQUAL(shared({{1, 2, 3}}, 12), 0);
  CHECK_EQUAL(shared({{1}, {2}}, 0), 0);
  CHECK_EQUAL(shared({}, 12), 0);
}

TEST("generation: end tokens, least numbers of tokens, and what listeners are told") {
  // Row r says token r + 1 at every step but the third, where row 1 says 0, and the fifth, where all say 5.
  auto next = [](const std::vector<GenerationRow>& growing, const std::vector<GenerationRow>& entering) {
    std::vector<GenerationRow> rows = growing;
    for (const GenerationRow& row : growing) CHECK(row.step > 0);
    for (const GenerationRow& row : entering) CHECK_EQUAL(row.step, 0);
    rows.insert(rows.end(), entering.begin(), entering.end());
    at::Tensor logits = at::empty({static_cast<int64_t>(rows.size()), 6}, at::kFloat).zero_();
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto& [prompt, slot, start, length, step, token] = rows[i];
      int32_t next_token = step == 2 && prompt == 1 ? 0 : step == 4 ? 5 : prompt + 1;
      logits.select(0, static_cast<int64_t>(i)).select(0, next_token).fill_(1);
    }
    return logits;
  };
  const std::vector<int32_t> lengths = {2, 4, 3};
  for (int64_t rows_at_once : {0, 1, 2}) {
    GenerateOptions options;
    options.batch_rows = rows_at_once;
    options.max_new_tokens = 8;
    options.end_token_ids = {0, 5};
    std::vector<std::vector<int32_t>> told(3);
    std::vector<int32_t> ended;
    options.on_tokens = [&](const std::vector<int32_t>& prompts, const std::vector<int32_t>& tokens) {
      CHECK(rows_at_once == 0 || static_cast<int64_t>(prompts.size()) <= rows_at_once);
      for (size_t i = 0; i < prompts.size(); ++i) told[prompts[i]].push_back(tokens[i]);
    };
    options.on_ended = [&](const std::vector<int32_t>& prompts) {
      ended.insert(ended.end(), prompts.begin(), prompts.end());
    };
    auto rows = generate(options, lengths, 6, next);
    CHECK(rows[0] == (std::vector<int32_t>{1, 1, 1, 1, 5}));
    CHECK(rows[1] == (std::vector<int32_t>{2, 2, 0}));
    CHECK(rows[2] == (std::vector<int32_t>{3, 3, 3, 3, 5}));
    CHECK(told == rows);
    // The shortest answer ends first; the longest prompt is computed first.
    CHECK(ended == (std::vector<int32_t>{1, 2, 0}));
    options.min_new_tokens = 3;
    rows = generate(options, lengths, 6, next);
    CHECK(rows[1] == (std::vector<int32_t>{2, 2, 1, 2, 5}));  // of the equal others the first
    options.max_new_tokens = 2;
    rows = generate(options, lengths, 6, next);
    CHECK(rows == (std::vector<std::vector<int32_t>>{{1, 1}, {2, 2}, {3, 3}}));
    options.end_token_ids = {6};
    CHECK_THROWS(generate(options, lengths, 6, next), std::invalid_argument, "end token is 6");
  }
}

TEST("generation: logits without a highest number are an error that names the prompt, not a token") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  GenerateOptions options;
  for (const std::vector<float>& logits : {std::vector<float>{1, nan}, {infinity, 0}, {-infinity, -infinity}}) {
    auto next = [&](const std::vector<GenerationRow>&, const std::vector<GenerationRow>& entering) {
      return rows_of(logits, static_cast<int64_t>(entering.size()));
    };
    CHECK_THROWS(generate(options, {1, 2}, 2, next), NotFinite, "behind prompt 1 are not finite");
  }
  auto next = [&](const std::vector<GenerationRow>&, const std::vector<GenerationRow>&) {
    return rows_of({-infinity, 2}, 1);
  };
  CHECK(generate(options, {1}, 2, next)[0] == std::vector<int32_t>{1});
}

TEST("generation: a raised flag stops between two steps") {
  GenerateOptions options;
  options.max_new_tokens = 100;
  options.abort = std::make_shared<std::atomic<bool>>(false);
  int64_t steps = 0;
  auto next = [&](const std::vector<GenerationRow>& growing, const std::vector<GenerationRow>& entering) {
    if (++steps == 7) options.abort->store(true);
    return rows_of({0, 1}, static_cast<int64_t>(growing.size() + entering.size()));
  };
  CHECK_THROWS(generate(options, {1, 2}, 2, next), Aborted, "stopped");
  CHECK_EQUAL(steps, 7);
}
