// Generation, scoring, merging and loading of T5.
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>

#include <algorithm>
#include <cmath>

#include "check.h"
#include "models_generation_checks.h"
#include "models_small_t5.h"

using namespace rkif;
using namespace rkif::test;

namespace {

// Greedy search that computes everything anew for every token, one prompt at a time.
std::vector<int32_t> generate_slowly(Model& model, const std::vector<int32_t>& prompt, int64_t max_new, int64_t min_new,
                                     int64_t eos) {
  std::vector<int32_t> tokens;
  while (static_cast<int64_t>(tokens.size()) < max_new) {
    Batch batch;
    batch.input_ids = prompt;
    batch.input_lengths = {static_cast<int32_t>(prompt.size())};
    // The last label is not part of the decoder's input: any token will do.
    batch.labels = tokens;
    batch.labels.push_back(0);
    batch.label_lengths = {static_cast<int32_t>(batch.labels.size())};
    batch.record_keys = {0};
    std::vector<float> last = values(model.logits(batch).select(0, batch.label_lengths[0] - 1));
    if (eos >= 0 && static_cast<int64_t>(tokens.size()) < min_new) last[eos] = -INFINITY;
    tokens.push_back(static_cast<int32_t>(std::max_element(last.begin(), last.end()) - last.begin()));
    if (tokens.back() == eos) break;
  }
  return tokens;
}

std::vector<std::vector<int32_t>> prompts_of(const Batch& batch) {
  std::vector<std::vector<int32_t>> prompts;
  auto from = batch.input_ids.begin();
  for (int32_t length : batch.input_lengths) {
    prompts.emplace_back(from, from + length);
    from += length;
  }
  return prompts;
}

void check_generation(const T5Config& config) {
  // Long enough for the cache to grow twice.
  constexpr int64_t kTokens = 38;
  std::unique_ptr<Model> model = small_model(config, lora_options());
  Batch batch = small_batch();
  GenerateOptions options;
  options.input_ids = batch.input_ids;
  options.input_lengths = batch.input_lengths;
  options.max_new_tokens = kTokens;
  std::vector<std::vector<int32_t>> free = model->generate(options);
  std::vector<std::vector<int32_t>> prompts = prompts_of(batch);
  for (size_t i = 0; i < prompts.size(); ++i) {
    CHECK_EQUAL(free[i].size(), static_cast<size_t>(kTokens));
    CHECK(free[i] == generate_slowly(*model, prompts[i], kTokens, 0, -1));
  }
  // An end token that some rows reach early: they leave the batch, the others must not notice.
  const int32_t end = free[0][4];
  options.end_token_ids = {end};
  std::vector<std::vector<int32_t>> ended = model->generate(options);
  CHECK(ended[0].size() <= 5);
  for (size_t i = 0; i < prompts.size(); ++i) {
    CHECK(ended[i] == generate_slowly(*model, prompts[i], kTokens, 0, end));
  }
  options.min_new_tokens = 8;
  std::vector<std::vector<int32_t>> longer = model->generate(options);
  CHECK(longer[0].size() > 8);
  for (size_t i = 0; i < prompts.size(); ++i) {
    CHECK(longer[i] == generate_slowly(*model, prompts[i], kTokens, 8, end));
  }
}

}  // namespace

TEST("t5 inference: generation with the cache equals computing everything anew") {
  check_generation(small_config());
  check_generation(small_config(Activation::kGeluNew, true, false));
}

TEST("t5 inference: prompts that enter as others end get what each gets alone") {
  check_budgets(*small_model(small_config(), lora_options()), 40);
  check_budgets(*small_model(small_config(Activation::kGeluNew, true, false), lora_options()), 40);
}

TEST("t5 inference: option scores are sums of log softmax of the logits, in whatever order the options come") {
  std::unique_ptr<Model> model = small_model(small_config(), lora_options());
  Batch batch = small_batch();
  std::vector<std::vector<int32_t>> prompts = prompts_of(batch);
  ScoreOptions options;
  options.input_ids = batch.input_ids;
  options.input_lengths = batch.input_lengths;
  options.option_lengths = {1, 3, 4, 2, 6, 2};
  for (int32_t i = 0; i < 18; ++i) options.option_ids.push_back((7 * i + 3) % 40);
  for (const std::vector<int32_t>& owners :
       {std::vector<int32_t>{2, 0, 2, 4, 0, 2}, {4, 4, 4, 0, 0, 0}, {0, 0, 1, 1, 2, 2}, {3, 3, 3, 3, 3, 3}}) {
    options.option_prompts = owners;
    std::vector<double> scores = model->score_options(options);
    int32_t start = 0;
    for (size_t i = 0; i < scores.size(); ++i) {
      Batch one;
      one.input_ids = prompts[owners[i]];
      one.input_lengths = {static_cast<int32_t>(one.input_ids.size())};
      one.label_lengths = {options.option_lengths[i]};
      one.labels.assign(options.option_ids.begin() + start,
                        options.option_ids.begin() + start + options.option_lengths[i]);
      one.record_keys = {0};
      start += options.option_lengths[i];
      std::vector<float> log_p = values(at::log_softmax(model->logits(one), 1));
      double expected = 0;
      for (size_t token = 0; token < one.labels.size(); ++token) expected += log_p[40 * token + one.labels[token]];
      CHECK_NEAR(scores[i], expected, 1e-5 * std::abs(expected));
    }
  }
  options.option_prompts[1] = 5;
  CHECK_THROWS(model->score_options(options), std::invalid_argument, "option 1 belongs to prompt 5");
}

TEST("t5 inference: a merged adapter computes the same, refuses training, and comes out without a trace") {
  for (BaseType base : {BaseType::kFloat32, BaseType::kBFloat16}) {
    ModelOptions options = lora_options();
    options.base_type = base;
    std::unique_ptr<Model> model = small_model(small_config(), options);
    Batch batch = small_batch();
    std::vector<float> before = values(model->logits(batch));
    model->merge_adapter();
    std::vector<float> merged = values(model->logits(batch));
    // In bf16 the sum of weight and adapter is rounded to 8 bits.
    CHECK(relative_difference(merged, before) < (base == BaseType::kFloat32 ? 1e-5 : 0.05));
    model->parameters().zero_();
    CHECK(values(model->logits(batch)) == merged);
    CHECK_THROWS(model->accumulate(batch, {}), std::logic_error, "merged");
    CHECK_THROWS(model->merge_adapter(), std::logic_error, "merged already");
    model->unmerge_adapter();
    fill_random(model->parameters(), 99, 0.15);
    CHECK(values(model->logits(batch)) == before);
    model->accumulate(batch, {});
    CHECK_THROWS(model->unmerge_adapter(), std::logic_error, "no merged adapter");
  }
  CHECK_THROWS(small_model(small_config(), full_options())->merge_adapter(), std::logic_error, "every weight");
}

TEST("t5 inference: a bf16 base stays close to fp32, forward and backward") {
  // A smooth activation: where rounding takes a ReLU over its kink, a gradient jumps by what no rounding bounds.
  const T5Config config = small_config(Activation::kGeluNew, true);
  std::unique_ptr<Model> exact = small_model(config, lora_options());
  ModelOptions options = lora_options();
  options.base_type = BaseType::kBFloat16;
  std::unique_ptr<Model> rounded = small_model(config, options);
  Batch batch = small_batch();
  CHECK(relative_difference(values(rounded->logits(batch)), values(exact->logits(batch))) < 0.05);
  exact->accumulate(batch, {});
  rounded->accumulate(batch, {});
  CHECK(relative_difference(values(rounded->gradients()), values(exact->gradients())) < 0.06);
}

TEST("t5 loading: an adapter of zeros changes nothing, and all weights are trainable from where they are") {
  T5Config config = small_config();
  Weights weights = random_weights(config);
  Batch batch = small_batch();
  std::vector<float> plain = values(make_t5(config, full_options(), weights)->logits(batch));
  CHECK_NEAR(relative_difference(values(make_t5(config, lora_options(), weights)->logits(batch)), plain), 0, 1e-6);
  std::unique_ptr<Model> full = make_t5(config, full_options(), weights);
  for (const TensorLayout& tensor : full->layout()) {
    at::Tensor view = full->parameters().narrow(0, tensor.offset, weights.at(tensor.name).numel());
    CHECK(values(view) == values(weights.at(tensor.name)));
  }
}

TEST("t5 loading: tied matrices under any of their names") {
  T5Config config = small_config();
  Weights weights = random_weights(config);
  Batch batch = small_batch();
  std::vector<float> expected = values(make_t5(config, lora_options(), weights)->logits(batch));
  at::Tensor shared = weights.at("shared.weight");
  for (const char* name : {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}) {
    Weights renamed = weights;
    renamed.erase("shared.weight");
    renamed[name] = shared;
    CHECK(values(make_t5(config, lora_options(), renamed)->logits(batch)) == expected);
    renamed["shared.weight"] = shared;
    CHECK(values(make_t5(config, lora_options(), renamed)->logits(batch)) == expected);
    renamed[name] = shared.add(1);
    CHECK_THROWS(make_t5(config, lora_options(), renamed), CheckpointMismatch, "differ from shared.weight");
  }
  weights["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = at::empty({8, 3});
  CHECK(values(make_t5(config, lora_options(), weights)->logits(batch)) == expected);
}

TEST("t5 loading: weights that do not fit are named") {
  T5Config config = small_config();
  Weights weights = random_weights(config);
  weights["decoder.block.7.extra"] = at::empty({1});
  weights["encoder.block.1.layer.0.SelfAttention.k.weight"] = at::empty({5, 24});
  weights.erase("decoder.final_layer_norm.weight");
  for (const ModelOptions& options : {lora_options(), full_options()}) {
    CHECK_THROWS(make_t5(config, options, weights), CheckpointMismatch, "1 unexpected (decoder.block.7.extra)");
    CHECK_THROWS(make_t5(config, options, weights), CheckpointMismatch, "1 missing (decoder.final_layer_norm.weight)");
    CHECK_THROWS(make_t5(config, options, weights), CheckpointMismatch,
                 "encoder.block.1.layer.0.SelfAttention.k.weight: found [5, 24], expected [18, 24]");
  }
}

TEST("t5 loading: an adapter's tensors stand in the order of the state dict, with PEFT's names") {
  ModelOptions options;
  const std::string last = "decoder.block.1.layer.2.DenseReluDense.wo",
                    first = "encoder.block.1.layer.0.SelfAttention.o";
  options.adapter = {{last, 3, 1}, {first, 2, 1}};
  std::unique_ptr<Model> model = small_model(small_config(), options);
  const std::vector<TensorLayout>& layout = model->layout();
  CHECK_EQUAL(layout.size(), 4u);
  CHECK_EQUAL(layout[0].name, "base_model.model." + first + ".lora_A.weight");
  CHECK_EQUAL(layout[1].name, "base_model.model." + first + ".lora_B.weight");
  CHECK_EQUAL(layout[2].name, "base_model.model." + last + ".lora_A.weight");
  CHECK(layout[0].shape == (std::vector<int64_t>{2, 18}));
  CHECK(layout[3].shape == (std::vector<int64_t>{24, 3}));
  CHECK_EQUAL(t5_linear_modules(small_config()).size(), 2u * (4 + 2) + 2u * (4 + 4 + 2));
}

TEST("t5 loading: an adapter that does not fit is refused") {
  auto load = [](std::vector<AdaptedModule> adapter) {
    ModelOptions options;
    options.adapter = std::move(adapter);
    small_model(small_config(), options);
  };
  const std::string q = "encoder.block.0.layer.0.SelfAttention.q";
  CHECK_THROWS(load({{"q_proj", 2, 1}}), std::invalid_argument, "\"q_proj\" is no linear layer");
  CHECK_THROWS(load({{q, 0, 1}}), std::invalid_argument, "rank of " + q + " is 0");
  CHECK_THROWS(load({{q, 2, 1}, {q, 3, 1}}), std::invalid_argument, "given twice");
  CHECK_THROWS(load({{q, 2, INFINITY}}), std::invalid_argument, "not a finite number");
  load({});
}
