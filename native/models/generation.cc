#include "models/generation.h"

#include <ATen/Parallel.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gather.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "kernels/dropout.h"
#include "models/device.h"

namespace rkif {
namespace {

void check(const GenerateOptions& options, int64_t vocab_size) {
  const size_t prompts = options.input_lengths.size();
  for (int32_t id : options.end_token_ids) {
    if (id < 0 || id >= vocab_size) {
      throw std::invalid_argument("generate: an end token is " + std::to_string(id) +
                                  ", expected a token below the vocabulary's size of " + std::to_string(vocab_size));
    }
  }
  if (!options.sampling) return;
  const Sampling& s = *options.sampling;
  if (!(s.temperature > 0) || !std::isfinite(s.temperature)) {
    throw std::invalid_argument("generate: temperature is " + std::to_string(s.temperature) + ", expected above 0");
  }
  if (!(s.top_p > 0 && s.top_p <= 1)) {
    throw std::invalid_argument("generate: top-p is " + std::to_string(s.top_p) + ", expected above 0 and at most 1");
  }
  if (!s.keys.empty() && s.keys.size() != prompts) {
    throw std::invalid_argument("generate: " + std::to_string(s.keys.size()) + " sampling keys for " +
                                std::to_string(prompts) + " prompts, expected as many");
  }
}

// Uniform in [0, 1).
double uniform(uint64_t seed, int64_t key, int64_t step) {
  uint64_t bits = mix64(mix64(mix64(seed) ^ static_cast<uint64_t>(key)) ^ static_cast<uint64_t>(step));
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

// exp((x - highest) / temperature); 0 for what is no number.
double weight_of(float x, float highest, double temperature) {
  double weight = std::exp((static_cast<double>(x) - highest) / temperature);
  return std::isfinite(weight) ? weight : 0;
}

// The candidates of a row that together reach top_p, most probable first (ties: lower id first).
std::vector<int32_t> nucleus(const std::vector<double>& weights, double total, double top_p) {
  std::vector<int32_t> ids;
  // What cannot be in the nucleus need not be sorted: the rest below this bound is less than half of 1 - top_p.
  double bound = total * (1 - top_p) / (2 * static_cast<double>(weights.size()));
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > bound) ids.push_back(static_cast<int32_t>(i));
  }
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return weights[a] > weights[b]; });
  double sum = 0;
  size_t kept = 0;
  while (kept < ids.size() && (kept == 0 || sum < top_p * total)) sum += weights[ids[kept++]];
  ids.resize(kept);
  return ids;
}

int32_t sample(const float* logits, int64_t count, const Sampling& sampling, double u) {
  float highest = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < count; ++i) highest = logits[i] > highest ? logits[i] : highest;
  std::vector<double> weights(count);
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += weights[i] = weight_of(logits[i], highest, sampling.temperature);
  std::vector<int32_t> ids;
  if (sampling.top_p < 1) {
    ids = nucleus(weights, total, sampling.top_p);
    total = 0;
    for (int32_t id : ids) total += weights[id];
  } else {
    ids.resize(count);
    std::iota(ids.begin(), ids.end(), 0);
  }
  double sum = 0;
  int32_t last = 0;
  for (int32_t id : ids) {
    if (weights[id] == 0) continue;
    last = id;
    sum += weights[id];
    if (u * total < sum) break;
  }
  return last;
}

// Rows that have too few tokens yet do not end.
void forbid_ends(const at::Tensor& logits, const GenerateOptions& options, const std::vector<GenerationRow>& rows) {
  std::vector<int64_t> places;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].step >= options.min_new_tokens) continue;
    for (int32_t id : options.end_token_ids) places.push_back(static_cast<int64_t>(i) * logits.size(1) + id);
  }
  if (places.empty()) return;
  logits.view(-1).index_fill_(0, tensor_beside(logits, places, at::kLong), -std::numeric_limits<float>::infinity());
}

// The best of what is no number would be any token; NaN counts as the highest. Minus infinity is a number here: a token
// that cannot be.
std::vector<int32_t> best_tokens(const at::Tensor& logits, const std::vector<GenerationRow>& rows) {
  const at::Tensor best = at::argmax(logits, 1, /*keepdim=*/true);
  // Both in one read, which waits for the device: a double holds either as it is.
  const at::Tensor here = on_host(at::cat({best.to(at::kDouble), at::gather(logits, 1, best).to(at::kDouble)}, 1));
  const double* values = here.const_data_ptr<double>();
  std::vector<int32_t> ids(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    ids[i] = static_cast<int32_t>(values[2 * i]);
    if (std::isfinite(values[2 * i + 1])) continue;
    throw NotFinite("generate: the logits behind prompt " + std::to_string(rows[i].prompt) +
                    " are not finite: the weights or the adapter hold values that are no numbers, or too large");
  }
  return ids;
}

// Fewer are not worth their copies.
constexpr int64_t kLeastShared = 8;
constexpr int64_t kLeastOwn = 2;

}  // namespace

int64_t shared_tokens(const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths) {
  if (lengths.size() < 2) return 0;
  int64_t shared = *std::min_element(lengths.begin(), lengths.end()) - kLeastOwn;
  const int32_t* prompt = ids.data();
  for (int32_t length : lengths) {
    if (shared < kLeastShared) return 0;
    shared = std::mismatch(prompt, prompt + shared, ids.data()).first - prompt;
    prompt += length;
  }
  return shared < kLeastShared ? 0 : shared;
}

std::vector<int32_t> sample_tokens(const at::Tensor& logits, const Sampling& sampling,
                                   const std::vector<GenerationRow>& rows) {
  at::Tensor values = on_host(logits.contiguous());
  const int64_t count = values.size(1);
  const float* data = values.const_data_ptr<float>();
  std::vector<int32_t> tokens(rows.size());
  at::parallel_for(0, static_cast<int64_t>(rows.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const GenerationRow& row = rows[i];
      int64_t key = sampling.keys.empty() ? row.prompt : int64_t{sampling.keys[row.prompt]};
      tokens[i] = sample(data + i * count, count, sampling, uniform(sampling.seed, key, row.step));
    }
  });
  return tokens;
}

std::vector<std::vector<int32_t>> generate_tokens(const GenerateOptions& options, Schedule& schedule,
                                                  int64_t vocab_size, const NextLogits& next_logits) {
  check(options, vocab_size);
  std::vector<std::vector<int32_t>> results(options.input_lengths.size());
  const std::vector<int32_t>& ends = options.end_token_ids;
  std::vector<GenerationRow> rows;
  for (;;) {
    const std::vector<GenerationRow> entering = schedule.admit();
    if (rows.empty() && entering.empty()) return results;
    check_abort(options.abort);
    at::Tensor logits = next_logits(rows, entering).contiguous();
    rows.insert(rows.end(), entering.begin(), entering.end());
    forbid_ends(logits, options, rows);
    const std::vector<int32_t> best = best_tokens(logits, rows);
    const std::vector<int32_t> chosen = options.sampling ? sample_tokens(logits, *options.sampling, rows) : best;
    std::vector<GenerationRow> growing;
    std::vector<int32_t> prompts, ended;
    for (size_t i = 0; i < rows.size(); ++i) {
      GenerationRow& row = rows[i];
      row.token = chosen[i];
      ++row.step;
      prompts.push_back(row.prompt);
      results[row.prompt].push_back(row.token);
      if (row.step < options.max_new_tokens && std::find(ends.begin(), ends.end(), row.token) == ends.end()) {
        growing.push_back(row);
      } else {
        schedule.leave(row);
        ended.push_back(row.prompt);
      }
    }
    if (options.on_tokens) options.on_tokens(prompts, chosen);
    if (options.on_ended && !ended.empty()) options.on_ended(ended);
    rows = std::move(growing);
  }
}

}  // namespace rkif
