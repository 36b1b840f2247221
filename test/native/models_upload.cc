// What goes to a device with a batch: lists together, keys and values by index. The CPU with kernels that are set, as
// if they were another device's, is given all of it as a GPU is.
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>

#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "check.h"
#include "kernels_data.h"
#include "models/key_value_cache.h"
#include "models/packed.h"
#include "models/relative_bias.h"
#include "models/rope.h"
#include "models/upload.h"
#include "models_generation_checks.h"
#include "models_small_decoder.h"
#include "models_small_encoder.h"
#include "models_training_checks.h"

using namespace rkif;
using namespace rkif::test;

namespace {

// For as long as it lives.
class AnotherDevice {
 public:
  AnotherDevice() { set_kernels(c10::kCPU, &cpu_kernels()); }
  AnotherDevice(const AnotherDevice&) = delete;
  ~AnotherDevice() { set_kernels(c10::kCPU, nullptr); }
};

template <class T>
std::vector<T> elements(const at::Tensor& tensor) {
  const T* data = static_cast<const T*>(tensor.const_data_ptr());
  return {data, data + tensor.numel()};
}

// 100 rows of 3 numbers, row i from 10 i on.
at::Tensor numbered_rows() {
  return at::arange(100, at::kFloat).mul_(10).unsqueeze(1).add(at::arange(3, at::kFloat)).contiguous();
}

// A store after all of these writes, and grown from 40 to 60 tokens between them.
std::vector<float> written(const std::vector<std::vector<RowRun>>& writes) {
  KeyValueStore store(2, 40, 3, at::TensorOptions(at::kFloat));
  const at::Tensor rows = numbered_rows();
  for (const KeyValues& layer : store.layers()) {
    layer.keys.zero_();
    layer.values.zero_();
  }
  for (size_t i = 0; i < writes.size(); ++i) {
    const RowRunList runs(writes[i]);
    if (i % 2 == 0) {
      Upload upload(rows);
      runs.join(upload);
      upload.send();
    }
    store.write(0, {rows, rows.neg()}, runs);
    store.write(1, {rows.add(1), rows.narrow(0, 0, 100)}, runs);
    if (i == 0) store.resize(60, RowRunList({{0, 10, 50}, {20, 20, 3}, {11, 2, 0}}));
  }
  std::vector<float> all;
  for (const KeyValues& layer : store.layers()) {
    for (const at::Tensor& stored : {layer.keys, layer.values}) {
      // What has not been written is anything.
      for (const auto& [first, count] : std::vector<std::pair<int64_t, int64_t>>{{0, 2}, {3, 20}, {50, 10}}) {
        for (float value : values(stored.narrow(0, first, count))) all.push_back(value);
      }
    }
  }
  return all;
}

// Everything that a model computes with lists of a batch.
struct Computed {
  std::vector<float> gradients;
  double loss_sum = 0;
  std::vector<double> losses;
  std::vector<float> logits;
  std::vector<double> scores;
  std::vector<std::vector<int32_t>> answers;
};

Computed compute(Model& model, const Batch& batch, bool writes) {
  Computed result;
  // In inference mode first: what it leaves must do for training as well.
  result.losses = model.loss(batch, {});
  result.logits = values(model.logits(batch));
  const Result trained = run(model, {batch}, with_dropout());
  result.gradients = trained.gradients;
  result.loss_sum = trained.report.loss_sum;
  if (!writes) return result;
  GenerateOptions generate;
  generate.input_ids = batch.input_ids;
  generate.input_lengths = batch.input_lengths;
  generate.max_new_tokens = 20;
  generate.batch_rows = 2;
  result.answers = model.generate(generate);
  ScoreOptions score;
  score.input_ids = batch.input_ids;
  score.input_lengths = batch.input_lengths;
  score.option_ids = {1, 2, 3, 4, 5, 6};
  score.option_lengths = {3, 1, 2};
  score.option_prompts = {0, 0, 1};
  result.scores = model.score_options(score);
  // And of prompts that begin alike.
  score.input_ids.clear();
  auto prompt = batch.input_ids.begin();
  for (int32_t& length : score.input_lengths) {
    for (int32_t i = 0; i < 11; ++i) score.input_ids.push_back(i % 7 + 1);
    score.input_ids.insert(score.input_ids.end(), prompt, prompt + length);
    prompt += length;
    length += 11;
  }
  for (double of_alike : model.score_options(score)) result.scores.push_back(of_alike);
  return result;
}

void check_same(const std::function<std::unique_ptr<Model>()>& make, const Batch& batch, bool writes = true) {
  const Computed expected = compute(*make(), batch, writes);
  AnotherDevice device;
  const Computed found = compute(*make(), batch, writes);
  CHECK(same_bits(found.gradients, expected.gradients) && same_bits(found.logits, expected.logits));
  CHECK(found.loss_sum == expected.loss_sum && found.losses == expected.losses && found.scores == expected.scores);
  CHECK(found.answers == expected.answers);
}

}  // namespace

TEST("upload: lists go together, each at a place that kernels can read from, with its values and type") {
  AnotherDevice device;
  Upload upload(c10::kCPU);
  at::Tensor ids, none, bytes, longs, words, later;
  upload.add({1, -2, 3}, ids);
  upload.add(std::vector<int32_t>{}, none);
  upload.add(std::vector<uint8_t>{7, 8, 9, 10, 11}, at::kByte, bytes);
  upload.add(std::vector<int64_t>{int64_t{1} << 40, -5}, at::kLong, longs);
  upload.add(std::vector<uint32_t>{0xffffffffu}, at::kInt, words);
  CHECK(!ids.defined());
  upload.send();
  CHECK(elements<int32_t>(ids) == (std::vector<int32_t>{1, -2, 3}) && ids.scalar_type() == at::kInt);
  CHECK(none.defined() && none.numel() == 0 && none.scalar_type() == at::kInt);
  CHECK(elements<uint8_t>(bytes) == (std::vector<uint8_t>{7, 8, 9, 10, 11}));
  CHECK(elements<int64_t>(longs) == (std::vector<int64_t>{int64_t{1} << 40, -5}) && longs.scalar_type() == at::kLong);
  CHECK(elements<uint32_t>(words) == (std::vector<uint32_t>{0xffffffffu}));
  // One copy.
  CHECK(ids.storage().data() == longs.storage().data() && ids.storage().data() == words.storage().data());
  const std::vector<at::Tensor> sent = {ids, none, bytes, longs, words};
  for (const at::Tensor& list : sent) {
    CHECK_EQUAL(list.storage_offset() * list.element_size() % static_cast<int64_t>(Upload::kAlignment), 0);
  }
  // Nothing more to send leaves what was sent.
  upload.send();
  upload.add({4}, later);
  upload.send();
  CHECK(elements<int32_t>(later) == std::vector<int32_t>{4} && elements<int32_t>(ids)[1] == -2);
  CHECK(later.storage().data() != ids.storage().data());
}

TEST("upload: on the CPU a list is a tensor at once") {
  Upload upload(c10::kCPU);
  at::Tensor ids;
  std::vector<int32_t> values = {5, 6};
  upload.add(values, ids);
  values[0] = 0;
  CHECK(elements<int32_t>(ids) == (std::vector<int32_t>{5, 6}));
  upload.send();
  CHECK(elements<int32_t>(ids) == (std::vector<int32_t>{5, 6}));
}

TEST("upload: spans and places of rows go along, or by themselves where they have not") {
  const Sequences sequences({2, 3});
  const at::Tensor like = at::zeros({1});
  const Spans own = attention_spans(sequences, sequences, {}, {8, 9});
  CHECK(own->beside(like).device == own->spans().data());
  AnotherDevice device;
  for (bool together : {false, true}) {
    const Spans spans = attention_spans(sequences, sequences, {}, {8, 9});
    const RowPlaces rows(sequences, {8, 9});
    if (together) {
      Upload upload(like);
      spans->join(upload);
      rows.join(upload);
      upload.send();
    }
    const DeviceSpans placed = spans->beside(like);
    CHECK(placed.device != spans->spans().data());
    CHECK(std::memcmp(placed.device, spans->spans().data(), 2 * sizeof(AttentionSpan)) == 0);
    CHECK(elements<uint32_t>(rows.beside(like)) == (std::vector<uint32_t>{8, 8, 9, 9, 9, 0, 1, 0, 1, 2}));
    CHECK(rows.beside(like).data_ptr() == rows.beside(like).data_ptr());
  }
}

TEST("upload: rotary tables and positions") {
  Rope rope({}, 4);
  Upload now(c10::kCPU);
  const Rotation expected = rope.places({0, 3}, 4, now);
  AnotherDevice device;
  Upload upload(c10::kCPU);
  const Rotation places = rope.places({0, 3}, 4, upload);
  upload.send();
  CHECK(elements<int32_t>(places->positions) == elements<int32_t>(expected->positions));
  CHECK(values(places->cosine) == values(expected->cosine) && values(places->sine) == values(expected->sine));
}

TEST("relative positions: the biases of a reach are the same after those of others") {
  const RelativeBuckets buckets(true, 8, 20), fresh(true, 8, 20);
  const at::Tensor weight = at::arange(16, at::kFloat).view({8, 2});
  for (int64_t reach : {5, 300, 1, 299, 1000, 7}) {
    // More than there is memory for.
    CHECK_THROWS(buckets.bias(weight, int64_t{1} << 60), std::exception, "");
    const AttentionBias bias = buckets.bias(weight, reach);
    CHECK_EQUAL(bias.reach, reach);
    CHECK_EQUAL(bias.table.size(1), 2 * reach - 1);
    for (int64_t i : {int64_t{0}, reach - 1, 2 * reach - 2}) {
      CHECK_EQUAL(bias.table.select(0, 1).select(0, i).item<float>(), 2.0f * fresh.bucket(i - (reach - 1)) + 1);
    }
  }
}

TEST("key and value cache: rows by index are where the host's copies put them") {
  // In order, out of order, one by one, none.
  const std::vector<std::vector<RowRun>> writes = {
      {{0, 30, 0}, {30, 10, 30}}, {{90, 5, 4}, {3, 1, 22}, {50, 2, 15}}, {}, {{7, 1, 55}, {8, 1, 53}, {9, 1, 50}}};
  const std::vector<float> expected = written(writes);
  AnotherDevice device;
  CHECK(written(writes) == expected);
}

TEST("upload: models compute the same bits with their lists sent together") {
  const auto t5 = [](const ModelOptions& options) {
    return [options] { return small_model(small_config(Activation::kGeluNew, true), options); };
  };
  check_same(t5(full_options()), small_batch());
  const auto decoder = [](const ModelOptions& options) {
    return [options] { return small_decoder_model(small_decoder(), options); };
  };
  check_same([] { return small_model(small_config(), lora_options()); }, small_batch());
  check_same(decoder(decoder_lora()), decoder_batch());
  check_same(decoder(full_options()), decoder_batch());
  ModelOptions checkpointing = decoder_lora();
  checkpointing.gradient_checkpointing = true;
  check_same(decoder(checkpointing), decoder_batch());
  check_same([] { return small_encoder_model(small_encoder(EncoderNaming::kRoberta), full_options()); },
             encoder_batch(), false);
}

TEST("upload: generation with keys by index gives every prompt the tokens it gets alone") {
  AnotherDevice device;
  check_budgets(*small_decoder_model(biased_decoder(), decoder_lora()), kDecoderVocabulary);
  check_budgets(*small_model(small_config(), lora_options()), 40);
}
