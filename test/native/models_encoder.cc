// Encoders: what they compute against the formulas in double precision, derivatives, packing, loading, refusals.
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "check.h"
#include "models/layer_norm.h"
#include "models/pooling.h"
#include "models_small_encoder.h"
#include "models_small_t5.h"
#include "models_training_checks.h"

using namespace rkif;
using namespace rkif::test;

namespace {

constexpr EncoderNaming kNamings[] = {EncoderNaming::kBert, EncoderNaming::kRoberta, EncoderNaming::kDistilBert};

// An adapter on every linear layer.
ModelOptions adapted(const EncoderConfig& config, double dropout = 0.1) {
  ModelOptions options;
  options.adapter_dropout = dropout;
  for (const std::string& module : encoder_linear_modules(config)) options.adapter.push_back({module, 4, 2});
  return options;
}

std::vector<float> embeddings(Model& model) {
  const Batch batch = encoder_batch();
  return values(model.embed(batch.input_ids, batch.input_lengths, nullptr));
}

double sum_of(const std::vector<double>& numbers) {
  double sum = 0;
  for (double number : numbers) sum += number;
  return sum;
}

Batch with_text_of(int32_t length) {
  Batch batch = part_of(encoder_batch(), {0});
  batch.input_ids.assign(length, 3);
  batch.input_lengths = {length};
  return batch;
}

}  // namespace

TEST("models: layer norm of a row worked by hand, and a constant row") {
  at::Tensor x = at::full({2, 2}, 7.0), weight = at::ones({2}), bias = at::zeros({2});
  x.mutable_data_ptr<float>()[0] = 1;
  x.mutable_data_ptr<float>()[1] = 5;
  weight.mutable_data_ptr<float>()[1] = 2;
  bias.mutable_data_ptr<float>()[0] = 0.5;
  // Mean 3, variance 4.
  const std::vector<float> y = values(layer_norm(x, {weight, bias}, 0.01));
  CHECK_NEAR(y[0], -2 / std::sqrt(4.01) + 0.5, 1e-6);
  CHECK_NEAR(y[1], 4 / std::sqrt(4.01), 1e-6);
  CHECK_EQUAL(y[2], 0.5f);
  CHECK_EQUAL(y[3], 0.0f);
}

TEST("models: a text's vector is the mean of its rows at length 1, zero where that is zero") {
  const Sequences texts({2, 1});
  at::Tensor states = at::zeros({3, 2});
  states.mutable_data_ptr<float>()[0] = 6;
  states.mutable_data_ptr<float>()[3] = 8;
  const std::vector<float> y = values(mean_unit_vectors(states, texts));
  CHECK_NEAR(y[0], 0.6, 1e-7);
  CHECK_NEAR(y[1], 0.8, 1e-7);
  CHECK_EQUAL(y[2], 0.0f);
  CHECK_EQUAL(y[3], 0.0f);
}

TEST("encoder: embeddings, logits and losses as the formulas give them, for every naming") {
  for (EncoderNaming naming : kNamings) {
    const EncoderConfig config = small_encoder(naming);
    std::unique_ptr<Model> model = make_encoder(config, {}, encoder_weights(config));
    const EncoderReference reference{config, encoder_weights(config)};
    const Batch batch = encoder_batch();
    const Sequences texts(batch.input_lengths);
    const std::vector<float> found = embeddings(*model);
    size_t at = 0;
    for (int64_t i = 0; i < texts.count(); ++i) {
      auto first = batch.input_ids.begin() + texts.starts[i];
      for (double expected : reference.embed({first, first + texts.lengths[i]}, 0)) {
        CHECK_NEAR(found[at++], expected, 2e-6);
      }
    }
    CHECK_EQUAL(at, found.size());
    const std::vector<float> logits = values(model->logits(batch));
    at = 0;
    for (const std::vector<double>& row : reference.logits(batch)) {
      for (double expected : row) CHECK_NEAR(logits[at++], expected, 1e-5);
    }
    CHECK_EQUAL(at, logits.size());
    const std::vector<double> losses = model->loss(batch, nullptr), expected = reference.losses(batch);
    CHECK_EQUAL(losses.size(), expected.size());
    for (size_t i = 0; i < losses.size(); ++i) CHECK_NEAR(losses[i], expected[i], 1e-5);
    CHECK_EQUAL(losses[2], 0);
  }
}

TEST("encoder training: dropout is where each model has it, by the numbers that saved runs depend on") {
  for (EncoderNaming naming : kNamings) {
    const EncoderConfig config = small_encoder(naming);
    std::unique_ptr<Model> model = make_encoder(config, {}, encoder_weights(config));
    const AccumulateOptions options = with_dropout();
    const EncoderReference reference{config, encoder_weights(config), true, options.counters};
    const LossReport report = model->accumulate(encoder_batch(), options);
    CHECK_EQUAL(report.label_tokens, 4);
    CHECK_NEAR(report.loss_sum, sum_of(reference.losses(encoder_batch())), 2e-5);
    // The masks matter.
    CHECK(std::abs(report.loss_sum - sum_of(model->loss(encoder_batch(), nullptr))) > 1e-3);
  }
}

TEST("encoder training: derivatives of every adapter tensor, for every naming, dropout on") {
  for (EncoderNaming naming : kNamings) {
    const EncoderConfig config = small_encoder(naming);
    check_derivatives(*small_encoder_model(config, adapted(config)), encoder_batch());
  }
}

TEST("encoder training: derivatives of every weight, for every naming, dropout on") {
  for (EncoderNaming naming : kNamings) {
    check_derivatives(*small_encoder_model(small_encoder(naming), full_options()), encoder_batch());
  }
}

TEST("encoder training: loss and gradients do not depend on how records are batched, dropout on") {
  const EncoderConfig config = small_encoder(EncoderNaming::kBert);
  for (const ModelOptions& options : {adapted(config), full_options()}) {
    check_batching(*small_encoder_model(config, options), encoder_batch());
  }
}

TEST("encoder training: records without a label add nothing, and an abort flag stops the work") {
  const EncoderConfig config = small_encoder(EncoderNaming::kDistilBert);
  std::unique_ptr<Model> model = small_encoder_model(config, adapted(config));
  const Result ignored = run(*model, {part_of(encoder_batch(), {2})}, with_dropout());
  CHECK_EQUAL(ignored.report.label_tokens, 0);
  for (float gradient : ignored.gradients) CHECK_EQUAL(gradient, 0.0f);
  const AbortFlag abort = std::make_shared<std::atomic<bool>>(true);
  AccumulateOptions options = with_dropout();
  options.abort = abort;
  CHECK_THROWS(model->accumulate(encoder_batch(), options), Aborted, "stopped");
  CHECK_THROWS(model->loss(encoder_batch(), abort), Aborted, "stopped");
  CHECK_THROWS(model->embed({1, 2}, {2}, abort), Aborted, "stopped");
}

TEST("encoder: the layers that can take an adapter, in the order of the state dict") {
  EncoderConfig config = small_encoder(EncoderNaming::kRoberta);
  config.num_layers = 1;
  const std::string path = "encoder.layer.0.";
  CHECK(encoder_linear_modules(config) ==
        std::vector<std::string>({path + "attention.self.query", path + "attention.self.key",
                                  path + "attention.self.value", path + "attention.output.dense",
                                  path + "intermediate.dense", path + "output.dense"}));
  config.naming = EncoderNaming::kDistilBert;
  CHECK_EQUAL(encoder_linear_modules(config)[3], "transformer.layer.0.attention.out_lin");
}

TEST("encoder: a merged adapter gives the embeddings of the adapter, and comes out again to the same bits") {
  const EncoderConfig config = small_encoder(EncoderNaming::kBert);
  std::unique_ptr<Model> model = small_encoder_model(config, adapted(config));
  const std::vector<float> before = embeddings(*model);
  model->merge_adapter();
  CHECK_NEAR(relative_difference(embeddings(*model), before), 0, 1e-5);
  CHECK_THROWS(model->accumulate(encoder_batch(), with_dropout()), std::logic_error, "unmerge");
  model->unmerge_adapter();
  CHECK(embeddings(*model) == before);
}

TEST("encoder: 16-bit and 8-bit weights give nearly the same embeddings, and train") {
  const EncoderConfig config = small_encoder(EncoderNaming::kBert);
  const std::vector<float> exact = embeddings(*small_encoder_model(config, adapted(config)));
  for (BaseType type : {BaseType::kBFloat16, BaseType::kInt8}) {
    ModelOptions options = adapted(config);
    options.base_type = type;
    std::unique_ptr<Model> model = small_encoder_model(config, options);
    const double difference = relative_difference(embeddings(*model), exact);
    CHECK(difference > 0 && difference < 0.05);
    const Result result = run(*model, {encoder_batch()}, with_dropout());
    CHECK(std::isfinite(result.report.loss_sum));
    CHECK(relative_difference(result.gradients, std::vector<float>(result.gradients.size(), 1e-6f)) > 1);
  }
}

TEST("encoder: checkpoints with a head, with a prefix, with the oldest names of norms") {
  for (const auto& [naming, prefix] :
       {std::pair{EncoderNaming::kBert, "bert."}, std::pair{EncoderNaming::kRoberta, "roberta."},
        std::pair{EncoderNaming::kDistilBert, "distilbert."}}) {
    const EncoderConfig config = small_encoder(naming);
    const std::vector<float> plain = embeddings(*make_encoder(config, {}, encoder_weights(config)));
    Weights stored;
    for (const auto& [name, tensor] : encoder_weights(config)) {
      std::string old = name;
      if (old.ends_with("LayerNorm.weight")) old.replace(old.size() - 6, 6, "gamma");
      if (old.ends_with("LayerNorm.bias")) old.replace(old.size() - 4, 4, "beta");
      stored[prefix + old] = tensor;
    }
    stored[std::string(prefix) + "embeddings.position_ids"] = at::arange(14);
    for (const char* name : {"cls.predictions.bias", "lm_head.dense.weight", "classifier.weight", "qa_outputs.bias",
                             "pre_classifier.weight", "vocab_transform.weight"}) {
      stored[name] = at::zeros({3});
    }
    stored[std::string(prefix) + "pooler.dense.weight"] = at::zeros({24, 24});
    std::unique_ptr<Model> model = make_encoder(config, full_options(), stored);
    CHECK(embeddings(*model) == plain);
    // The names of the flat vector are the model's, not the file's.
    CHECK_EQUAL(model->layout().front().name, "embeddings.word_embeddings.weight");

    stored["bert.encoder.layer.2.output.dense.weight"] = at::zeros({24, 32});
    CHECK_THROWS(make_encoder(config, {}, stored), CheckpointMismatch, "1 unexpected (bert.encoder.layer.2");
    stored.erase("bert.encoder.layer.2.output.dense.weight");
    const std::string lost = prefix + encoder_name(naming, "encoder.layer.1.attention.self.key.bias");
    stored.erase(lost);
    CHECK_THROWS(make_encoder(config, {}, stored), CheckpointMismatch, "1 missing (" + lost);
  }
}

TEST("encoder: what cannot be a text, a batch or a configuration is refused by name") {
  const EncoderConfig config = small_encoder(EncoderNaming::kRoberta);
  std::unique_ptr<Model> model = make_encoder(config, {}, encoder_weights(config));
  CHECK_EQUAL(model->logits(with_text_of(14)).size(0), 1);
  CHECK_THROWS(model->logits(with_text_of(15)), std::invalid_argument,
               "input ids: text 0 has 15 tokens, but this model has positions for 14; cut longer texts");
  CHECK_THROWS(model->embed(std::vector<int32_t>(15, 3), {15}, nullptr), std::invalid_argument, "positions for 14");
  auto refused = [&](auto change, const std::string& message) {
    Batch batch = encoder_batch();
    change(batch);
    CHECK_THROWS(model->loss(batch, nullptr), std::invalid_argument, message);
  };
  refused([](Batch& b) { b.candidate_ids[2] = 40; }, "candidate ids: token 2 is 40");
  refused([](Batch& b) { b.candidate_lengths[1] = 0; }, "candidate ids: sequence 1 has length 0");
  refused([](Batch& b) { b.candidate_ids.clear(), b.candidate_lengths.clear(); }, "there are no candidates");
  refused([](Batch& b) { b.labels[1] = 3; }, "labels: token 1 is 3, expected 0 to 2 or -100");
  refused([](Batch& b) { b.labels.push_back(0), b.label_lengths[4] = 2; }, "record 4 has 2 labels");
  refused([](Batch& b) { b.record_keys[3] = 0x80000000u; }, "the key of record 3 is 2147483648");
  refused([](Batch& b) { b.record_keys.pop_back(); }, "record keys");
  CHECK_THROWS(model->generate({}), std::invalid_argument, "an encoder writes no text");
  CHECK_THROWS(model->score_options({}), std::invalid_argument, "an encoder gives no token a probability");

  auto impossible = [&](auto change, const std::string& message) {
    EncoderConfig wrong = config;
    change(wrong);
    CHECK_THROWS(make_encoder(wrong, {}, encoder_weights(config)), std::invalid_argument, message);
  };
  impossible([](EncoderConfig& c) { c.num_heads = 5; }, "num_heads is 5, expected a divisor of hidden_size, 24");
  impossible([](EncoderConfig& c) { c.first_position = 16; }, "position 16, expected a row of the position table");
  impossible([](EncoderConfig& c) { c.similarity_scale = 0; }, "the scale of the similarity is 0");
  impossible([](EncoderConfig& c) { c.attention_dropout = 1; }, "attention's dropout rate is 1");
}
