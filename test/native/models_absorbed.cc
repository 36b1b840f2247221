// Attention to states whose keys and values are absorbed, against attention to the keys and values themselves.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>

#include "check.h"
#include "models/absorbed_attention.h"
#include "models/absorbed_keys.h"
#include "models/attention.h"
#include "models/int8.h"
#include "models_small_t5.h"

using namespace rkif;
using namespace rkif::test;

namespace {

constexpr double kDeviation = 0.3;

// What pays depends on the number of threads.
class TwoThreads {
 public:
  TwoThreads() { at::set_num_threads(2); }
  TwoThreads(const TwoThreads&) = delete;
  ~TwoThreads() { at::set_num_threads(before_); }

 private:
  const int before_ = at::get_num_threads();
};

// A layer with an adapter and frozen ones.
Linear layer(int64_t out, int64_t in, uint64_t seed, int64_t rank = 4) {
  Linear made;
  made.weight = random_matrix(out, in, seed, kDeviation);
  made.a = random_matrix(rank, in, seed + 1, kDeviation);
  made.b = random_matrix(out, rank, seed + 2, kDeviation);
  made.frozen_a = random_matrix(8, in, seed + 3, kDeviation);
  made.frozen_b = random_matrix(out, 8, seed + 4, kDeviation);
  made.scale = 0.7f;
  return made;
}

void check_absorbed(const Linear& keys, const Linear& values, double tolerance) {
  constexpr int64_t kHeads = 3, kSize = 6, kWidth = 24;
  const at::Tensor states = random_matrix(40, kWidth, 1, kDeviation),
                   q = random_matrix(9, kHeads * kSize, 2, kDeviation);
  AttentionPlace place;
  place.heads = kHeads;
  place.scale = 0.5f;
  place.spans = std::make_shared<SpanList>(
      std::vector<AttentionSpan>{{0, 1, 0, 25, 0}, {1, 1, 25, 15, 0}, {2, 4, 0, 25, 0}, {6, 3, 25, 15, 0}});
  const at::Tensor expected = attend(q, linear(states, keys), linear(states, values), {}, place);
  const AbsorbedKeys absorbed(keys, values, kHeads);
  place.key_heads = 1;
  const at::Tensor found = absorbed.values(attend(absorbed.queries(q), states, states, {}, place));
  CHECK(found.sizes() == expected.sizes());
  CHECK(relative_difference(rkif::test::values(found), rkif::test::values(expected)) < tolerance);
}

}  // namespace

TEST("absorbed keys: the mixture of values that keys and values give, with adapters, of every kind of base") {
  Linear keys = layer(18, 24, 10), values = layer(18, 24, 20);
  check_absorbed(keys, values, 1e-5);
  for (Linear* one : {&keys, &values}) one->weight = one->weight.to(at::kBFloat16);
  check_absorbed(keys, values, 2e-2);
  for (at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    if (!can_prepack(type)) continue;
    Linear packed_keys = layer(18, 24, 10), packed_values = layer(18, 24, 20);
    for (Linear* one : {&packed_keys, &packed_values}) {
      one->weight = one->weight.to(type);
      one->prepack();
    }
    check_absorbed(packed_keys, packed_values, type == at::kFloat ? 1e-5 : 2e-2);
  }
  Linear quantised_keys = layer(18, 24, 10), quantised_values = layer(18, 24, 20);
  for (Linear* one : {&quantised_keys, &quantised_values}) {
    const QuantisedRows rows = quantise_rows(one->weight);
    one->weight = rows.values;
    one->scales = rows.scales;
  }
  check_absorbed(quantised_keys, quantised_values, 2e-2);
}

TEST("absorbed keys: a merged adapter counts once") {
  Linear keys = layer(18, 24, 10), values = layer(18, 24, 20);
  const at::Tensor with = keys.dense();
  keys.merge();
  values.merge();
  CHECK(relative_difference(rkif::test::values(keys.dense()), rkif::test::values(with)) < 1e-6);
  check_absorbed(keys, values, 1e-5);
}

namespace {

// A frozen layer with an adapter that trains.
Linear trained_layer(int64_t out, int64_t in, uint64_t seed, at::ScalarType type, int64_t rank = 4) {
  Linear made = layer(out, in, seed, rank);
  made.weight = made.weight.to(type);
  made.frozen_a = made.frozen_b = at::Tensor();
  for (at::Tensor* factor : {&made.a, &made.b}) {
    factor->set_requires_grad(true);
    factor->mutable_grad() = at::zeros_like(*factor);
  }
  return made;
}

void check_absorbed_gradients(const Linear& keys, const Linear& values, double rate, double tolerance,
                              bool inputs_train = true) {
  constexpr int64_t kHeads = 3, kSize = 6, kWidth = 24, kStates = 40, kQueries = 9;
  const Sequences of_states({25, 15}), of_queries({5, 4});
  const std::vector<uint32_t> records = {7, 3};
  const auto rows = std::make_shared<RowPlaces>(of_states, records);
  const Dropout of_keys{rate, 11, rows}, of_values{rate, 12, rows};
  AttentionPlace place;
  place.heads = kHeads;
  place.scale = 0.5f;
  place.narrow = keys.rounds();
  place.spans = attention_spans(of_queries, of_states, {}, records);
  place.dropout = {rate, 13};
  struct Found {
    at::Tensor mixed;
    std::vector<at::Tensor> gradients;
  };
  const auto pass = [&](bool absorbed) {
    at::Tensor states = random_matrix(kStates, kWidth, 1, kDeviation),
               q = random_matrix(kQueries, kHeads * kSize, 2, kDeviation);
    states.set_requires_grad(inputs_train);
    q.set_requires_grad(inputs_train);
    for (const Linear* one : {&keys, &values}) {
      if (!one->adapted()) continue;
      one->a.mutable_grad().zero_();
      one->b.mutable_grad().zero_();
    }
    const at::Tensor mixed =
        absorbed ? attend_absorbed(q, states, {&keys, of_keys}, {&values, of_values}, place)
                 : attend(q, linear(states, keys, of_keys), linear(states, values, of_values), {}, place);
    mixed.backward(random_matrix(kQueries, kHeads * kSize, 3));
    Found found{mixed, {}};
    if (inputs_train) found.gradients = {q.grad().clone(), states.grad().clone()};
    for (const Linear* one : {&keys, &values}) {
      if (!one->adapted()) continue;
      found.gradients.push_back(one->a.grad().clone());
      found.gradients.push_back(one->b.grad().clone());
    }
    return found;
  };
  const Found expected = pass(false), found = pass(true);
  CHECK(relative_difference(rkif::test::values(found.mixed), rkif::test::values(expected.mixed)) < tolerance);
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    const std::vector<float> wanted = rkif::test::values(expected.gradients[i]);
    CHECK(relative_difference(rkif::test::values(found.gradients[i]), wanted) < tolerance);
  }
  // Without gradients the same values come out.
  at::NoGradGuard no_grad;
  const at::Tensor states = random_matrix(kStates, kWidth, 1, kDeviation),
                   q = random_matrix(kQueries, kHeads * kSize, 2, kDeviation);
  const at::Tensor again = attend_absorbed(q, states, {&keys, of_keys}, {&values, of_values}, place);
  CHECK(rkif::test::values(again) == rkif::test::values(found.mixed));
}

}  // namespace

TEST("absorbed attention: values and gradients of keys and values that are made, with dropout and adapters") {
  for (double rate : {0.0, 0.2}) {
    const auto trained = [](uint64_t seed) { return trained_layer(18, 24, seed, at::kFloat); };
    Linear plain = layer(18, 24, 30);
    plain.a = plain.b = plain.frozen_a = plain.frozen_b = at::Tensor();
    const Linear thicker = trained_layer(18, 24, 40, at::kFloat, 5);
    check_absorbed_gradients(trained(10), trained(20), rate, 1e-5);
    check_absorbed_gradients(trained(10), thicker, rate, 1e-5);
    check_absorbed_gradients(thicker, trained(20), rate, 1e-5, false);
    check_absorbed_gradients(plain, trained(20), rate, 1e-5, false);
    check_absorbed_gradients(trained(10), plain, rate, 1e-5, false);
    check_absorbed_gradients(plain, trained(20), rate, 1e-5);
    check_absorbed_gradients(trained(10), plain, rate, 1e-5);
    check_absorbed_gradients(plain, plain, rate, 1e-5);
    const auto narrow = [](uint64_t seed) { return trained_layer(18, 24, seed, at::kBFloat16); };
    check_absorbed_gradients(narrow(10), narrow(20), rate, 3e-2);
  }
}

TEST("absorbed attention: layers that cannot be absorbed are known") {
  const Linear trained = trained_layer(18, 24, 10, at::kFloat);
  CHECK(can_be_absorbed(trained));
  CHECK(!can_be_absorbed(layer(18, 24, 10)));
  Linear summed = trained_layer(18, 24, 10, at::kFloat), biased = trained_layer(18, 24, 10, at::kFloat);
  summed.a_sums = at::empty({4});
  CHECK(!can_be_absorbed(summed));
  biased.bias = at::empty({18});
  CHECK(!can_be_absorbed(biased));
  Linear open = trained_layer(18, 24, 10, at::kFloat);
  open.weight.set_requires_grad(true);
  CHECK(!can_be_absorbed(open));
}

TEST("absorbed attention: the gradient of a batch is that of its records, one by one") {
  // Absorbing is for the CPU's own kernels.
  if (!reads_host_memory(at::kCPU)) return;
  const TwoThreads two;
  T5Config config = small_config();
  config.d_kv = 64;
  std::unique_ptr<Model> model = small_model(config, lora_options(0.1, {"q", "k", "v", "wo"}));
  Batch batch;
  constexpr int kRecords = 12, kLength = 80;
  for (int i = 0; i < kRecords; ++i) {
    batch.input_lengths.push_back(kLength - i % 7);
    for (int j = 0; j < kLength - i % 7; ++j) batch.input_ids.push_back((i * 13 + j * (1 + i % 5) + 2) % 40);
    batch.label_lengths.push_back(3 + i % 3);
    for (int j = 0; j < 3 + i % 3; ++j) batch.labels.push_back((i * 7 + j + 3) % 40);
    batch.record_keys.push_back(100 + 3 * i);
  }
  const auto pays = [&](const Batch& of) {
    return absorbing_pays(Sequences(of.label_lengths), Sequences(of.input_lengths), 64, 24, model->parameters());
  };
  AccumulateOptions accumulate;
  accumulate.dropout = true;
  CHECK(pays(batch));
  const double loss = model->accumulate(batch, accumulate).loss_sum;
  const std::vector<float> found = rkif::test::values(model->gradients().clone());
  model->gradients().zero_();
  double sum = 0;
  for (int i = 0; i < kRecords; ++i) {
    const Batch alone = part_of(batch, {i});
    CHECK(!pays(alone));
    sum += model->accumulate(alone, accumulate).loss_sum;
  }
  CHECK_NEAR(loss, sum, 1e-5 * sum);
  CHECK(relative_difference(found, rkif::test::values(model->gradients())) < 3e-5);
}

TEST("absorbed attention: pays by what every record takes, and where threads and memory allow") {
  if (!reads_host_memory(at::kCPU)) return;
  const TwoThreads two;
  const at::Tensor here = at::empty({1});
  const auto pays = [&](const std::vector<int32_t>& queries, const std::vector<int32_t>& states, int64_t width) {
    return absorbing_pays(Sequences(queries), Sequences(states), 64, width, here);
  };
  const std::vector<int32_t> eight(8, 120);
  CHECK(pays(std::vector<int32_t>(8, 8), eight, 512));
  CHECK(!pays(std::vector<int32_t>(8, 14), eight, 512));
  // Few on average, but what there is belongs to one long record.
  CHECK(!pays({60, 1, 1, 1, 1, 1, 1, 1}, {512, 20, 20, 20, 20, 20, 20, 20}, 512));
  // One record has labels.
  CHECK(!pays({8, 0, 0, 0, 0, 0, 0, 0}, eight, 512));
  // Keys and values are smaller.
  CHECK(!pays(std::vector<int32_t>(32, 9), std::vector<int32_t>(32, 40), 1024));
  CHECK(!pays({1, 1}, {100, 100}, 512));
}

TEST("absorbed keys: many prompts get the answers and scores that each gets alone") {
  if (!reads_host_memory(at::kCPU)) return;
  const TwoThreads two;
  T5Config config = small_config();
  config.d_kv = 64;
  std::unique_ptr<Model> model = small_model(config, lora_options());
  constexpr int kPrompts = 16, kLength = 100;
  GenerateOptions all;
  ScoreOptions scored;
  all.max_new_tokens = 8;
  for (int i = 0; i < kPrompts; ++i) {
    const int length = kLength - i % 7;
    for (int j = 0; j < length; ++j) all.input_ids.push_back((i * 13 + j * (1 + i % 5) + 2) % 40);
    all.input_lengths.push_back(length);
    for (int option = 0; option < 2; ++option) {
      for (int j = 0; j < 3; ++j) scored.option_ids.push_back((i + 5 * option + 7 * j) % 40);
      scored.option_lengths.push_back(3);
      scored.option_prompts.push_back(i);
    }
  }
  scored.input_ids = all.input_ids;
  scored.input_lengths = all.input_lengths;
  const auto pays = [&](int64_t sequences, size_t states, int64_t queries) {
    return AbsorbedKeys::pays({sequences, static_cast<int64_t>(states), queries}, 64, 24, model->parameters());
  };
  CHECK(pays(kPrompts, all.input_ids.size(), 1) && pays(kPrompts, all.input_ids.size(), 5));
  const std::vector<std::vector<int32_t>> answers = model->generate(all);
  const std::vector<double> scores = model->score_options(scored);
  auto next = all.input_ids.begin();
  int different = 0;
  for (int i = 0; i < kPrompts; ++i) {
    GenerateOptions one = all;
    one.input_lengths = {all.input_lengths[i]};
    one.input_ids.assign(next, next + all.input_lengths[i]);
    next += all.input_lengths[i];
    CHECK(!pays(1, one.input_ids.size(), 1));
    CHECK(model->generate(one)[0] == answers[i]);
    different += answers[i] != answers[0];
    ScoreOptions alone;
    alone.input_ids = one.input_ids;
    alone.input_lengths = one.input_lengths;
    alone.option_ids.assign(scored.option_ids.begin() + 6 * i, scored.option_ids.begin() + 6 * i + 6);
    alone.option_lengths = {3, 3};
    alone.option_prompts = {0, 0};
    const std::vector<double> expected = model->score_options(alone);
    for (int option = 0; option < 2; ++option) {
      CHECK_NEAR(scores[2 * i + option], expected[option], 1e-5 * std::abs(expected[option]));
    }
  }
  CHECK(different > 5);
}
