// T5's generation and scoring of given options. A prompt is encoded once; later tokens attend to its keys.
#include <ATen/ops/empty.h>

#include <algorithm>

#include "models/generation.h"
#include "models/t5_model.h"

namespace rkif {
namespace {

// What answers attend to across: keys and values of the prompts in every layer of the decoder, or, where those are
// absorbed, the prompts' states.
class KeptPrompts {
 public:
  KeptPrompts(const T5Stack& decoder, const T5Config& config, int64_t tokens, bool absorbs,
              const at::TensorOptions& options)
      : decoder_(decoder),
        absorbs_(absorbs),
        states_(at::empty({absorbs ? tokens : 0, config.d_model}, options)),
        keys_(absorbs ? 0 : config.num_decoder_layers, tokens, config.num_heads * config.d_kv, options),
        layers_(absorbs ? decoder.absorbed_cross(states_) : decoder.cross_of(keys_)) {}

  void write(const at::Tensor& encoded, const RowRunList& runs, const T5Pass& pass) {
    if (absorbs_) {
      runs.copy(encoded, states_);
    } else {
      decoder_.keep_cross_keys(encoded, runs, pass, keys_);
    }
  }
  const std::vector<T5Keys>& layers() const { return layers_; }

 private:
  const T5Stack& decoder_;
  const bool absorbs_;
  at::Tensor states_;
  KeyValueStore keys_;
  std::vector<T5Keys> layers_;
};

// What a generation keeps of its prompts and answers.
struct Kept {
  Sequences prompts;  // as the options have them
  KeptPrompts cross;
  AnswerKeys answers;
  AttentionBias bias;
  T5Pass pass;
};

// Prompts that enter, end to end, and where their keys go.
struct Entering {
  Entering(const GenerateOptions& options, const Sequences& prompts, const std::vector<GenerationRow>& rows) {
    std::vector<int32_t> lengths;
    for (const GenerationRow& row : rows) {
      const auto first = options.input_ids.begin() + prompts.starts[row.prompt];
      runs.push_back({static_cast<int64_t>(ids.size()), row.length, row.start});
      ids.insert(ids.end(), first, first + row.length);
      lengths.push_back(static_cast<int32_t>(row.length));
    }
    sequences = Sequences(lengths);
  }

  std::vector<int32_t> ids;
  Sequences sequences;
  std::vector<RowRun> runs;
};

// One token of each row, at a step of its own: it attends to its answer so far and to its prompt. `input` stays where
// it is until the upload is sent.
void place_next(const std::vector<GenerationRow>& rows, int32_t start_token, Kept& kept, Upload& upload,
                T5DecoderInput& input) {
  std::vector<AttentionSpan> self, cross;
  std::vector<RowRun> runs;
  std::vector<int32_t> ids;
  int64_t longest = 0;
  for (const GenerationRow& row : rows) longest = std::max(longest, row.step + 1);
  kept.answers.reserve(longest);
  for (const GenerationRow& row : rows) {
    const int64_t query = static_cast<int64_t>(ids.size());
    ids.push_back(row.step == 0 ? start_token : row.token);
    runs.push_back({query, 1, kept.answers.place(row.slot, row.step)});
    self.push_back({query, 1, kept.answers.place(row.slot, 0), row.step + 1, 0});
    cross.push_back({query, 1, row.start, row.length, 0});
  }
  upload.add(ids, input.ids);
  input.self = std::make_shared<SpanList>(std::move(self));
  input.cross = std::make_shared<SpanList>(std::move(cross));
  input.answer_runs = std::make_shared<RowRunList>(std::move(runs));
  input.self->join(upload);
  input.cross->join(upload);
  input.answer_runs->join(upload);
  input.bias = kept.bias;
  input.answers = &kept.answers.store();
}

}  // namespace

NextLogits T5::next_logits(const GenerateOptions& options, const GenerationRoom& room) const {
  const int64_t layers = config_.num_decoder_layers, width = config_.num_heads * config_.d_kv;
  const at::TensorOptions options_of_keys = embedding_.options().dtype(at::kFloat);
  const Sequences prompts(options.input_lengths);
  // Of fewer prompts at a time, keys and values would be read faster than the matrices that replace them.
  const bool absorbs =
      room.tokens >= 2 * config_.d_model &&
      AbsorbedKeys::pays({prompts.count(), prompts.tokens, 1}, config_.d_kv, config_.d_model, embedding_);
  auto kept =
      std::make_shared<Kept>(Kept{prompts, KeptPrompts(decoder_, config_, room.tokens, absorbs, options_of_keys),
                                  AnswerKeys(layers, room.slots, options.max_new_tokens, width, options_of_keys),
                                  decoder_.bias(options.max_new_tokens), T5Pass{}});
  kept->pass.abort = options.abort;
  return [this, &options, kept](const std::vector<GenerationRow>& growing, const std::vector<GenerationRow>& entering) {
    Upload upload(embedding_);
    std::vector<GenerationRow> rows = growing;
    rows.insert(rows.end(), entering.begin(), entering.end());
    T5DecoderInput written;
    place_next(rows, static_cast<int32_t>(config_.decoder_start_token_id), *kept, upload, written);
    if (entering.empty()) {
      upload.send();
    } else {
      Entering packed(options, kept->prompts, entering);
      const RowRunList cross_runs(std::move(packed.runs));
      T5EncoderInput read;
      place_inputs(packed.ids, packed.sequences, {}, upload, read);
      cross_runs.join(upload);
      upload.send();
      kept->cross.write(encoder_.encode(read, embedding_, kept->pass), cross_runs, kept->pass);
    }
    return logits_of(decoder_.decode(written, {}, kept->cross.layers(), embedding_, kept->pass));
  };
}

T5::Predictions T5::option_states(const Sequences& prompts, const Sequences& targets,
                                  const ScoreOptions& options) const {
  T5Pass pass;
  pass.abort = options.abort;
  Upload upload(embedding_);
  T5EncoderInput read;
  place_inputs(options.input_ids, prompts, {}, upload, read);
  // The start token of every prompt, which all its options share, then every option but its last token, from which
  // nothing is predicted.
  std::vector<int32_t> ids(prompts.count(), static_cast<int32_t>(config_.decoder_start_token_id)), rows;
  std::vector<AttentionSpan> self, cross;
  for (int64_t i = 0; i < prompts.count(); ++i) {
    self.push_back({i, 1, i, 1, 0});
    cross.push_back({i, 1, prompts.starts[i], prompts.lengths[i], 0});
  }
  for (int64_t i = 0; i < targets.count(); ++i) {
    const int32_t prompt = options.option_prompts[i];
    const int64_t start = static_cast<int64_t>(ids.size()), length = targets.lengths[i] - 1;
    rows.push_back(prompt);
    for (int64_t token = 0; token < length; ++token) {
      ids.push_back(options.option_ids[targets.starts[i] + token]);
      rows.push_back(static_cast<int32_t>(start + token));
    }
    if (length == 0) continue;
    self.push_back({start, length, start, length, 0, prompt, 1});
    // Neighbours that attend to one prompt do so together: its keys are laid out once.
    AttentionSpan& before = cross.back();
    if (before.key_start == prompts.starts[prompt] && before.query_start + before.query_length == start) {
      before.query_length += length;
    } else {
      cross.push_back({start, length, prompts.starts[prompt], prompts.lengths[prompt], 0});
    }
  }
  // The options of a prompt, and its start token, attend at once.
  const int64_t attending = static_cast<int64_t>(ids.size()) / std::max<int64_t>(1, prompts.count());
  T5DecoderInput written;
  upload.add(ids, written.ids);
  written.self = std::make_shared<SpanList>(std::move(self));
  written.cross = std::make_shared<SpanList>(std::move(cross));
  written.absorbs =
      AbsorbedKeys::pays({prompts.count(), prompts.tokens, attending}, config_.d_kv, config_.d_model, embedding_);
  written.bias = decoder_.bias(targets.longest);
  written.self->join(upload);
  written.cross->join(upload);
  upload.send();
  const at::Tensor encoded = encoder_.encode(read, embedding_, pass);
  return {decoder_.decode(written, encoded, {}, embedding_, pass), std::move(rows)};
}

}  // namespace rkif
