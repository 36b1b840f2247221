// Loading: the configuration checked, and a checkpoint's tensors found under the names that it has them by.
#include "models/encoder.h"

#include <cmath>
#include <stdexcept>

#include "models/config_check.h"
#include "models/encoder_model.h"

namespace rkif {
namespace {

const EncoderConfig& checked(const EncoderConfig& c, const ModelOptions& options) {
  const ConfigCheck check("encoder");
  check.positive("vocab_size", c.vocab_size);
  check.positive("hidden_size", c.hidden_size);
  check.positive("intermediate_size", c.intermediate_size);
  check.positive("num_layers", c.num_layers);
  check.positive("num_heads", c.num_heads);
  if (c.hidden_size % c.num_heads != 0) {
    check.refuse("num_heads is " + std::to_string(c.num_heads) + ", expected a divisor of hidden_size, " +
                 std::to_string(c.hidden_size));
  }
  if (c.first_position < 0 || c.first_position >= c.max_positions) {
    check.refuse("a text's first token is at position " + std::to_string(c.first_position) +
                 ", expected a row of the position table, which has " + std::to_string(c.max_positions));
  }
  if (c.type_vocab_size < 0)
    check.refuse("type_vocab_size is " + std::to_string(c.type_vocab_size) + ", expected at least 0");
  if (!(c.similarity_scale > 0) || std::isinf(c.similarity_scale)) {
    check.refuse("the scale of the similarity is " + std::to_string(c.similarity_scale) +
                 ", expected a number above 0");
  }
  check_rate("encoder: the dropout rate", options.base_dropout < 0 ? c.hidden_dropout : options.base_dropout);
  check_rate("encoder: the attention's dropout rate",
             options.base_dropout < 0 ? c.attention_dropout : options.base_dropout);
  return c;
}

// What stands before every name of the encoder in the checkpoint of a model with a head.
std::string prefix_of(EncoderNaming naming) {
  switch (naming) {
    case EncoderNaming::kBert:
      return "bert.";
    case EncoderNaming::kRoberta:
      return "roberta.";
    case EncoderNaming::kDistilBert:
      return "distilbert.";
  }
  throw std::logic_error("unknown naming");
}

// The oldest checkpoints call a norm's weight gamma and its bias beta.
std::string oldest_name(const std::string& name) {
  for (const auto& [ending, oldest] :
       {std::pair{".LayerNorm.weight", ".LayerNorm.gamma"}, std::pair{".LayerNorm.bias", ".LayerNorm.beta"}}) {
    if (name.ends_with(ending)) return name.substr(0, name.rfind(ending)) + oldest;
  }
  return name;
}

// Parts of checkpoints that no embedding of a text is computed from: poolers, heads, and a buffer of 0, 1, 2, ...
bool plays_no_part(const std::string& name) {
  for (const char* start : {"pooler.", "cls.", "lm_head.", "classifier.", "pre_classifier.", "vocab_", "qa_outputs."}) {
    if (name.starts_with(start)) return true;
  }
  return name == "embeddings.position_ids";
}

}  // namespace

std::vector<std::string> encoder_linear_modules(const EncoderConfig& config) {
  SlotList slots;
  EncoderStack(config).list(slots);
  return slots.linear_modules();
}

std::unique_ptr<Model> make_encoder(const EncoderConfig& config, const ModelOptions& options, const Weights& weights) {
  return std::make_unique<Encoder>(config, options, weights);
}

Encoder::Encoder(const EncoderConfig& config, const ModelOptions& options, const Weights& weights)
    : TrainableModel(options), config_(checked(config, options)), stack_(config_) {
  load(weights);
}

void Encoder::load(const Weights& weights) {
  WeightReader reader(weights);
  const std::string head_prefix = prefix_of(config_.naming);
  const std::string prefix = reader.has(head_prefix + "embeddings.word_embeddings.weight") ? head_prefix : "";
  SlotList list, slots;
  stack_.list(list);
  for (ParameterSlot slot : list.slots()) {
    slot.stored_as = prefix + slot.name;
    const std::string oldest = oldest_name(slot.stored_as);
    if (!reader.has(slot.stored_as) && reader.has(oldest)) slot.stored_as = oldest;
    slots.add(std::move(slot));
  }
  install(slots, reader);
  for (const auto& [name, tensor] : weights) {
    // Heads stand beside the prefixed encoder, its pooler within.
    if (plays_no_part(name) || (name.starts_with(prefix) && plays_no_part(name.substr(prefix.size())))) {
      reader.ignore(name);
    }
  }
  reader.finish("encoder");
}

}  // namespace rkif
