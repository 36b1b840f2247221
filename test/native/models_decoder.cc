// Decoders: packing, gradients, generation, scoring, on a small random model that has every option somewhere.
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "check.h"
#include "models/decoder.h"
#include "models/generation.h"
#include "models_generation_checks.h"
#include "models_small_decoder.h"
#include "models_training_checks.h"

using namespace rkif;
using namespace rkif::test;

namespace {

std::vector<std::vector<int32_t>> prompts_of(const Batch& batch) {
  std::vector<std::vector<int32_t>> prompts;
  auto from = batch.input_ids.begin();
  for (int32_t length : batch.input_lengths) {
    prompts.emplace_back(from, from + length);
    from += length;
  }
  return prompts;
}

// Logits behind every token of one text.
std::vector<float> logits_of(Model& model, const std::vector<int32_t>& ids) {
  Batch batch;
  batch.input_ids = batch.labels = ids;
  batch.input_lengths = batch.label_lengths = {static_cast<int32_t>(ids.size())};
  batch.record_keys = {0};
  return values(model.logits(batch));
}

// Greedy search that computes everything anew for every token.
std::vector<int32_t> generate_slowly(Model& model, std::vector<int32_t> text, int64_t count, int32_t end = -1) {
  std::vector<int32_t> tokens;
  while (static_cast<int64_t>(tokens.size()) < count) {
    std::vector<float> logits = logits_of(model, text);
    auto best = std::max_element(logits.end() - kDecoderVocabulary, logits.end());
    tokens.push_back(static_cast<int32_t>(best - (logits.end() - kDecoderVocabulary)));
    text.push_back(tokens.back());
    if (tokens.back() == end) break;
  }
  return tokens;
}

// Of logits of one row.
double log_probability(const float* logits, int32_t token) {
  double total = 0;
  for (int32_t v = 0; v < kDecoderVocabulary; ++v) total += std::exp(double{logits[v]});
  return logits[token] - std::log(total);
}

}  // namespace

TEST("decoder training: loss and gradients do not depend on how records are batched, dropout on") {
  check_batching(*small_decoder_model(small_decoder(), decoder_lora()), decoder_batch());
  ModelOptions full;
  full.full = true;
  check_batching(*small_decoder_model(biased_decoder(), full), decoder_batch());
}

TEST("decoder: gradient checkpointing computes the same") {
  ModelOptions full;
  full.full = true;
  for (const ModelOptions& options : {decoder_lora(), full}) {
    check_checkpointing([](const ModelOptions& o) { return small_decoder_model(small_decoder(), o); }, options,
                        decoder_batch());
  }
}

TEST("decoder training: derivatives of every adapter tensor, dropout on") {
  ModelOptions all = decoder_lora({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"});
  CHECK_EQUAL(all.adapter.size(), 14u);
  check_derivatives(*small_decoder_model(small_decoder(), all), decoder_batch());
  check_derivatives(*small_decoder_model(biased_decoder(), all), decoder_batch());
}

TEST("decoder training: derivatives of every weight, biases and norms of heads included, dropout on") {
  ModelOptions full;
  full.full = true;
  check_derivatives(*small_decoder_model(small_decoder(), full), decoder_batch());
  check_derivatives(*small_decoder_model(biased_decoder(), full), decoder_batch());
}

TEST("decoder training: a record's first label is never predicted, and loss() equals accumulate() without dropout") {
  std::unique_ptr<Model> model = small_decoder_model(small_decoder(), decoder_lora());
  Batch batch = decoder_batch();
  LossReport report = model->accumulate(batch, {});
  std::vector<double> losses = model->loss(batch, {});
  double sum = 0;
  for (double loss : losses) sum += loss;
  CHECK_NEAR(report.loss_sum, sum, 1e-5 * sum);
  int64_t expected = 0;
  size_t row = 0;
  for (int32_t length : batch.input_lengths) {
    for (int32_t i = 0; i < length; ++i, ++row) expected += i > 0 && batch.labels[row] != kIgnoredLabel;
  }
  CHECK_EQUAL(report.label_tokens, expected);
  CHECK_EQUAL(losses[1], 0.0);  // a record of one token
  batch.label_lengths[0] = 6;
  batch.labels.erase(batch.labels.begin());
  CHECK_THROWS(model->accumulate(batch, {}), std::invalid_argument, "parallel");
}

TEST(
    "decoder: where few labels are given, the last layer computes what they need, and the losses are those of all "
    "logits") {
  for (const DecoderConfig& config : {small_decoder(), biased_decoder()}) {
    std::unique_ptr<Model> model = small_decoder_model(config, decoder_lora());
    Batch batch = decoder_batch();
    // Labels with a gap between them, none at all, and the last alone.
    std::fill(batch.labels.begin(), batch.labels.end(), kIgnoredLabel);
    const std::vector<float> logits = values(model->logits(batch));
    std::vector<double> expected(batch.input_lengths.size(), 0.0);
    size_t start = 0;
    for (size_t record = 0; record < batch.input_lengths.size(); start += batch.input_lengths[record++]) {
      const int32_t length = batch.input_lengths[record];
      std::vector<int32_t> labelled;
      if (record % 3 == 0 && length > 3) labelled = {1, length - 2};
      if (record % 3 == 2 && length > 1) labelled = {length - 1};
      for (int32_t i : labelled) {
        batch.labels[start + i] = (5 * i + 1) % kDecoderVocabulary;
        expected[record] -= log_probability(&logits[(start + i - 1) * kDecoderVocabulary], batch.labels[start + i]);
      }
    }
    const std::vector<double> losses = model->loss(batch, {});
    double sum = 0;
    for (size_t i = 0; i < losses.size(); ++i) {
      CHECK_NEAR(losses[i], expected[i], 1e-5 * expected[i]);
      sum += expected[i];
    }
    CHECK(sum > 1);
    CHECK_NEAR(model->accumulate(batch, {}).loss_sum, sum, 1e-5 * sum);
    // Who wants the outputs' sums has all rows computed.
    std::vector<std::vector<float>> gradients;
    for (bool whole : {false, true}) {
      AccumulateOptions options;
      options.dropout = true;
      int64_t rows = 0;
      for (const TensorLayout& tensor : model->layout()) rows += tensor.shape[0];
      if (whole) options.output_sums = at::zeros({rows}, at::kFloat);
      model->gradients().zero_();
      model->accumulate(batch, options);
      gradients.push_back(values(model->gradients().clone()));
    }
    CHECK(relative_difference(gradients[0], gradients[1]) < 1e-5);
  }
}

TEST("decoder inference: generation behind kept prompts equals computing everything anew") {
  constexpr int64_t kTokens = 38;
  DecoderConfig scaled = small_decoder();
  scaled.rope.scaling = RopeConfig::Scaling::kLinear;
  scaled.rope.factor = 2;
  for (const DecoderConfig& config : {small_decoder(), biased_decoder(), scaled}) {
    std::unique_ptr<Model> model = small_decoder_model(config, decoder_lora());
    Batch batch = decoder_batch();
    std::vector<std::vector<int32_t>> prompts = prompts_of(batch);
    GenerateOptions options;
    options.input_ids = batch.input_ids;
    options.input_lengths = batch.input_lengths;
    options.max_new_tokens = kTokens;
    std::vector<std::vector<int32_t>> free = model->generate(options);
    for (size_t i = 0; i < prompts.size(); ++i) CHECK(free[i] == generate_slowly(*model, prompts[i], kTokens));
    // Some rows end early and leave; the others must not notice.
    const int32_t end = free[0][4];
    options.end_token_ids = {end};
    std::vector<std::vector<int32_t>> told(prompts.size());
    options.on_tokens = [&](const std::vector<int32_t>& rows, const std::vector<int32_t>& tokens) {
      for (size_t i = 0; i < rows.size(); ++i) told[rows[i]].push_back(tokens[i]);
    };
    std::vector<std::vector<int32_t>> ended = model->generate(options);
    CHECK(ended[0].size() <= 5);
    for (size_t i = 0; i < prompts.size(); ++i) CHECK(ended[i] == generate_slowly(*model, prompts[i], kTokens, end));
    CHECK(told == ended);
  }
}

TEST("decoder inference: prompts that enter as others end get what each gets alone") {
  check_budgets(*small_decoder_model(small_decoder(), decoder_lora()), kDecoderVocabulary);
  check_budgets(*small_decoder_model(biased_decoder(), decoder_lora()), kDecoderVocabulary);
  // Where attention may round operands, it rounds the same ones.
  ModelOptions rounded = decoder_lora();
  rounded.base_type = BaseType::kBFloat16;
  check_budgets(*small_decoder_model(small_decoder(), rounded), kDecoderVocabulary);
}

TEST("decoder inference: option scores are sums of log softmax, prompts and what they begin with computed once") {
  std::vector<int32_t> beginning;
  for (int32_t i = 0; i < 13; ++i) beginning.push_back((5 * i + 1) % kDecoderVocabulary);
  for (const DecoderConfig& config : {small_decoder(), biased_decoder()}) {
    std::unique_ptr<Model> model = small_decoder_model(config, decoder_lora());
    for (bool alike : {false, true}) {
      std::vector<std::vector<int32_t>> prompts = prompts_of(decoder_batch());
      ScoreOptions options;
      for (std::vector<int32_t>& prompt : prompts) {
        if (alike) prompt.insert(prompt.begin(), beginning.begin(), beginning.end());
        options.input_ids.insert(options.input_ids.end(), prompt.begin(), prompt.end());
        options.input_lengths.push_back(static_cast<int32_t>(prompt.size()));
      }
      CHECK((shared_tokens(options.input_ids, options.input_lengths) > 10) == alike);
      options.option_prompts = {2, 0, 2, 4, 0, 2};
      for (const std::vector<int32_t>& lengths : {std::vector<int32_t>{1, 3, 4, 2, 6, 2}, {1, 1, 1, 1, 1, 1}}) {
        options.option_lengths = lengths;
        options.option_ids.clear();
        for (int32_t length : lengths) {
          for (int32_t i = 0; i < length; ++i) {
            options.option_ids.push_back((7 * static_cast<int32_t>(options.option_ids.size()) + 3) %
                                         kDecoderVocabulary);
          }
        }
        std::vector<double> scores = model->score_options(options);
        auto option = options.option_ids.begin();
        for (size_t i = 0; i < scores.size(); ++i) {
          std::vector<int32_t> text = prompts[options.option_prompts[i]];
          size_t before = text.size();
          text.insert(text.end(), option, option + lengths[i]);
          option += lengths[i];
          std::vector<float> logits = logits_of(*model, text);
          double expected = 0;
          for (size_t t = before; t < text.size(); ++t) {
            expected += log_probability(&logits[(t - 1) * kDecoderVocabulary], text[t]);
          }
          CHECK_NEAR(scores[i], expected, 1e-5 * std::abs(expected));
        }
      }
    }
  }
}

TEST("decoder inference: a score is what its prompt gets alone, where operands are rounded too") {
  ModelOptions options = decoder_lora();
  options.base_type = BaseType::kBFloat16;
  std::unique_ptr<Model> model = small_decoder_model(small_decoder(), options);
  const auto token = [](int32_t i) { return (i * i + 3 * i) % kDecoderVocabulary; };
  // Long options beside short prompts: of the last layer nearly everything is wanted.
  for (int32_t option_length : {2, 90}) {
    ScoreOptions all;
    std::vector<double> alone;
    for (int32_t prompt = 0; prompt < 6; ++prompt) {
      ScoreOptions one;
      for (int32_t i = 0; i < 12 + prompt; ++i) one.input_ids.push_back(token(i < 10 ? i : 31 * prompt + i));
      for (int32_t i = 0; i < option_length; ++i) one.option_ids.push_back(token(7 * prompt + 5 * i));
      one.input_lengths = {12 + prompt};
      one.option_lengths = {option_length};
      one.option_prompts = {0};
      alone.push_back(model->score_options(one)[0]);
      all.input_ids.insert(all.input_ids.end(), one.input_ids.begin(), one.input_ids.end());
      all.option_ids.insert(all.option_ids.end(), one.option_ids.begin(), one.option_ids.end());
      all.input_lengths.push_back(one.input_lengths[0]);
      all.option_lengths.push_back(option_length);
      all.option_prompts.push_back(prompt);
    }
    CHECK(shared_tokens(all.input_ids, all.input_lengths) > 0);
    const std::vector<double> together = model->score_options(all);
    for (size_t i = 0; i < alone.size(); ++i) CHECK_NEAR(together[i], alone[i], 1e-5 * std::abs(alone[i]));
  }
}

TEST("decoder inference: a window forgets what lies behind it, and only that") {
  DecoderConfig config = small_decoder();
  config.num_layers = 1;
  config.windows = {4};
  std::unique_ptr<Model> model = small_decoder_model(config, {});
  std::vector<int32_t> text = {5, 9, 13, 2, 30, 31, 7, 8}, other = text;
  other[3] = 25;
  std::vector<float> a = logits_of(*model, text), b = logits_of(*model, other);
  auto row = [](const std::vector<float>& logits, size_t i) {
    return std::vector<float>(logits.begin() + i * kDecoderVocabulary, logits.begin() + (i + 1) * kDecoderVocabulary);
  };
  for (size_t i : {0, 1, 2, 7}) CHECK(row(a, i) == row(b, i));
  for (size_t i : {3, 4, 5, 6}) CHECK(row(a, i) != row(b, i));
}

TEST("decoder inference: bf16 and int8 bases stay close to fp32, forward and backward") {
  std::unique_ptr<Model> exact = small_decoder_model(small_decoder(), decoder_lora());
  Batch batch = decoder_batch();
  std::vector<float> logits = values(exact->logits(batch));
  exact->accumulate(batch, {});
  for (BaseType base : {BaseType::kBFloat16, BaseType::kInt8}) {
    ModelOptions options = decoder_lora();
    options.base_type = base;
    std::unique_ptr<Model> rounded = small_decoder_model(small_decoder(), options);
    double forward = relative_difference(values(rounded->logits(batch)), logits);
    CHECK(forward > 1e-5 && forward < 0.05);
    rounded->accumulate(batch, {});
    CHECK(relative_difference(values(rounded->gradients()), values(exact->gradients())) < 0.15);
  }
  ModelOptions options = decoder_lora();
  options.base_type = BaseType::kInt8;
  CHECK_THROWS(small_decoder_model(small_decoder(), options)->merge_adapter(), std::logic_error, "int8");
}

TEST("decoder loading: a tied head under either name, stale frequencies, and weights that do not fit") {
  DecoderConfig config = biased_decoder();
  Weights weights = decoder_weights(config);
  std::vector<float> expected = values(make_decoder(config, {}, weights)->logits(decoder_batch()));
  at::Tensor embedding = weights.at("model.embed_tokens.weight");
  weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = at::empty({3});
  weights["lm_head.weight"] = embedding;
  CHECK(values(make_decoder(config, {}, weights)->logits(decoder_batch())) == expected);
  weights.erase("model.embed_tokens.weight");
  CHECK(values(make_decoder(config, {}, weights)->logits(decoder_batch())) == expected);
  weights["model.embed_tokens.weight"] = embedding.add(1);
  CHECK_THROWS(make_decoder(config, {}, weights), CheckpointMismatch, "differ from model.embed_tokens.weight");
  weights.erase("lm_head.weight");
  weights["model.layers.1.extra"] = at::empty({1});
  weights.erase("model.layers.1.mlp.up_proj.bias");
  CHECK_THROWS(make_decoder(config, {}, weights), CheckpointMismatch, "1 unexpected (model.layers.1.extra)");
  CHECK_THROWS(make_decoder(config, {}, weights), CheckpointMismatch, "1 missing (model.layers.1.mlp.up_proj.bias)");
}

TEST("decoder loading: what has been converted is told, what is shared is not") {
  DecoderConfig config = small_decoder();
  Weights weights = decoder_weights(config);
  int64_t told = 0;
  ModelOptions options;
  options.converted = [&](const at::Tensor&) { ++told; };
  make_decoder(config, options, weights);
  CHECK_EQUAL(told, 0);
  options.base_type = BaseType::kInt8;
  make_decoder(config, options, weights);
  CHECK_EQUAL(told, 14 + 1);  // linear layers and the embedding; norms and the head are fp32 already
}
