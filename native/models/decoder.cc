#include "models/decoder.h"

#include <stdexcept>

#include "models/config_check.h"
#include "models/decoder_model.h"

namespace rkif {
namespace {

const DecoderConfig& checked(const DecoderConfig& c, const ModelOptions& options) {
  const ConfigCheck check("decoder");
  check.positive("vocab_size", c.vocab_size);
  check.positive("hidden_size", c.hidden_size);
  check.positive("intermediate_size", c.intermediate_size);
  check.positive("num_layers", c.num_layers);
  check.positive("num_heads", c.num_heads);
  check.positive("num_key_value_heads", c.num_key_value_heads);
  if (c.num_heads % c.num_key_value_heads != 0) {
    check.refuse("num_key_value_heads is " + std::to_string(c.num_key_value_heads) +
                 ", expected a divisor of num_heads, " + std::to_string(c.num_heads));
  }
  if (static_cast<int64_t>(c.windows.size()) != c.num_layers) {
    check.refuse(std::to_string(c.windows.size()) + " attention windows, expected one for each of " +
                 std::to_string(c.num_layers) + " layers");
  }
  for (int64_t window : c.windows) {
    if (window < 0)
      check.refuse("an attention window is " + std::to_string(window) + ", expected at least 1, or 0 for none");
  }
  check_rate("decoder: the dropout rate", options.base_dropout < 0 ? c.attention_dropout : options.base_dropout);
  return c;
}

}  // namespace

std::vector<std::string> decoder_linear_modules(const DecoderConfig& config) {
  SlotList slots;
  DecoderStack(config).list(slots);
  return slots.linear_modules();
}

std::unique_ptr<Model> make_decoder(const DecoderConfig& config, const ModelOptions& options, const Weights& weights) {
  return std::make_unique<Decoder>(config, options, weights);
}

Decoder::Decoder(const DecoderConfig& config, const ModelOptions& options, const Weights& weights)
    : LanguageModel(options, config.vocab_size),
      config_(checked(config, options)),
      stack_(config_),
      rope_(config_.rope, config_.head_size) {
  load(weights);
}

void Decoder::load(const Weights& weights) {
  static const char* kEmbedding = "model.embed_tokens.weight";
  static const char* kHead = "lm_head.weight";
  const bool tied = config_.tie_word_embeddings;
  WeightReader reader(weights);
  // A file may hold the tied matrix under either name.
  const std::string embedding_name = tied && !reader.has(kEmbedding) && reader.has(kHead) ? kHead : kEmbedding;
  const std::vector<int64_t> vocabulary_shape = {config_.vocab_size, config_.hidden_size};
  SlotList slots;
  // The matrix that makes the logits stays fp32: rounded to 16 bits, the best of them tie.
  slots.add({kEmbedding, vocabulary_shape, &embedding_, nullptr, tied, embedding_name});
  stack_.list(slots);
  if (!tied) slots.small(kHead, vocabulary_shape, head_.weight);

  install(slots, reader);
  if (tied && embedding_name == kEmbedding && reader.has(kEmbedding)) {
    reader.expect_copy(kHead, kEmbedding, weights.at(kEmbedding));
  }
  // Written by older releases of transformers; they are computed from the configuration.
  for (const auto& [name, tensor] : weights) {
    if (name.ends_with("rotary_emb.inv_freq")) reader.ignore(name);
  }
  reader.finish("decoder");
  if (tied) head_.weight = embedding_;
}

void Decoder::check(const Batch& batch) const {
  check_prompts(batch.input_ids, batch.input_lengths);
  check_packed("labels", batch.labels, batch.label_lengths, 1, config_.vocab_size, Labels::kYes);
  check_records(batch);
  if (batch.label_lengths != batch.input_lengths) {
    throw std::invalid_argument("batch: a decoder's labels run parallel to its inputs, but their lengths differ");
  }
}

Decoder::Targets Decoder::targets_of(const Batch& batch) const {
  Targets targets;
  int64_t row = 0;
  for (size_t record = 0; record < batch.label_lengths.size(); ++record) {
    for (int32_t i = 0; i < batch.label_lengths[record]; ++i, ++row) {
      // Nothing stands before a record's first token to predict it from.
      if (i > 0 && batch.labels[row] != kIgnoredLabel) targets.add(row - 1, batch.labels[row], record);
    }
  }
  return targets;
}

void Decoder::want(const std::vector<int32_t>& rows, const std::vector<int32_t>& positions, int64_t longest,
                   Upload& upload, DecoderInput& input, LastLayer last_layer) const {
  if (rows.size() == positions.size()) return;
  auto last = std::make_shared<LastRows>();
  WantedRows wanted(*input.rows.spans, rows);
  // To copy rows takes time as well: an eighth less has to be computed.
  const bool pays = 8 * wanted.rows.size() <= 7 * positions.size();
  if (last_layer == LastLayer::kWhole || (last_layer == LastLayer::kAsPays && !pays)) {
    upload.add(rows, last->chosen);
    input.last = std::move(last);
    return;
  }
  std::vector<int32_t> places;
  for (int32_t row : wanted.rows) places.push_back(positions[row]);
  last->attending.places = rope_.places(places, longest, upload);
  last->attending.spans = std::make_shared<SpanList>(std::move(wanted.spans));
  last->attending.spans->join(upload);
  if (input.rows.dropout) {
    last->attending.dropout = std::make_shared<RowPlaces>(input.rows.dropout->of(wanted.rows));
    last->attending.dropout->join(upload);
  }
  upload.add(wanted.rows, last->rows);
  if (wanted.chosen.size() < wanted.rows.size()) upload.add(wanted.chosen, last->chosen);
  input.last = std::move(last);
}

at::Tensor Decoder::states(const Batch& batch, const std::vector<int32_t>* rows, const AccumulateOptions& options,
                           Upload& upload) const {
  Sequences inputs(batch.input_lengths);
  DecoderPass pass;
  pass.abort = options.abort;
  pass.checkpointing = checkpointing();
  DecoderInput input;
  if (options.dropout) {
    pass.attention_rate = base_rate(config_.attention_dropout);
    pass.adapter_rate = adapter_rate();
    pass.counters = options.counters;
    input.rows.dropout = std::make_shared<RowPlaces>(inputs, batch.record_keys);
    input.rows.dropout->join(upload);
  }
  upload.add(batch.input_ids, input.ids);
  const std::vector<int32_t> positions = positions_of(inputs);
  input.rows.places = rope_.places(positions, inputs.longest, upload);
  input.rows.spans = attention_spans(inputs, inputs, {}, batch.record_keys);
  input.rows.spans->join(upload);
  // Sums of outputs are over all rows.
  if (rows) {
    const bool whole = options.output_sums.defined();
    want(*rows, positions, inputs.longest, upload, input, whole ? LastLayer::kWhole : LastLayer::kAsPays);
  }
  upload.send();
  return stack_.run(input, embedding_, pass);
}

VocabularyHead Decoder::head() const { return {head_}; }

}  // namespace rkif
