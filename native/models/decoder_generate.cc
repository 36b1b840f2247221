// A decoder's generation and scoring of given options. What stands in a prompt is computed once: later tokens attend to
// its keys as a prefix. So is what all prompts begin with, as a task's instruction: its keys and values are copied to
// each of them.
#include <algorithm>

#include "models/decoder_model.h"
#include "models/generation.h"

namespace rkif {
namespace {

// Keys and values of a generation's prompts and of its answers.
struct Kept {
  Sequences prompts;  // as the options have them
  KeyValueStore prompt_keys;
  AnswerKeys answers;
  // Of the tokens that all prompts begin with.
  int64_t shared;
  KeyValueStore shared_keys;
  bool shared_computed = false;
  DecoderPass pass = {};
  int64_t longest = 0;
};

// What one call computes: of a generation the last token of every row that grows, then the prompts of those that enter.
struct Tokens {
  std::vector<int32_t> ids, positions;
  std::vector<int32_t> last;  // those from which the next one is predicted
  std::vector<AttentionSpan> spans;

  int64_t count() const { return static_cast<int64_t>(ids.size()); }

  // It attends to its prompt and to its answer so far.
  void add_growing(const GenerationRow& row, const AnswerKeys& answers) {
    const int64_t query = count(), position = row.length + row.step - 1;
    spans.push_back({query, 1, answers.place(row.slot, 0), row.step, 0, row.start, row.length});
    ids.push_back(row.token);
    positions.push_back(static_cast<int32_t>(position));
    last.push_back(static_cast<int32_t>(query));
  }

  // Its tokens from `first` on: what they attend to is a prefix without anything behind it.
  void add_entering(const GenerationRow& row, int64_t first, const int32_t* prompt) {
    add_prompt(row.start, first, row.length, prompt);
    last.push_back(static_cast<int32_t>(count()) - 1);
  }

  // Of the prompt whose keys go to `start`, the tokens from `first` to `end`.
  void add_prompt(int64_t start, int64_t first, int64_t end, const int32_t* prompt) {
    spans.push_back({count(), end - first, 0, 0, 0, start, end});
    ids.insert(ids.end(), prompt + first, prompt + end);
    for (int64_t position = first; position < end; ++position) positions.push_back(static_cast<int32_t>(position));
  }
};

struct Runs {
  const std::vector<RowRun>&prompts, &answers, &shared, &repeated;
};

void add_runs(DecoderInput& input, const Runs& runs, Upload& upload) {
  const auto joined = [&](const std::vector<RowRun>& of) {
    auto list = std::make_shared<RowRunList>(of);
    list->join(upload);
    return list;
  };
  input.prompt_runs = joined(runs.prompts);
  input.answer_runs = joined(runs.answers);
  input.shared_runs = joined(runs.shared);
  input.repeated_runs = joined(runs.repeated);
}

}  // namespace

NextLogits Decoder::next_logits(const GenerateOptions& options, const GenerationRoom& room) const {
  const int64_t layers = config_.num_layers, width = stack_.key_width();
  const at::TensorOptions options_of_keys = embedding_.options().dtype(at::kFloat);
  // Where the rotation depends on the longest text so far, keys are not the same to those that enter later.
  const bool rotates_alike = config_.rope.scaling != RopeConfig::Scaling::kDynamic;
  const int64_t shared = rotates_alike ? shared_tokens(options.input_ids, options.input_lengths) : 0;
  auto kept = std::make_shared<Kept>(
      Kept{Sequences(options.input_lengths), KeyValueStore(layers, room.tokens, width, options_of_keys),
           AnswerKeys(layers, room.slots, options.max_new_tokens, width, options_of_keys), shared,
           KeyValueStore(layers, shared, width, options_of_keys)});
  kept->pass.abort = options.abort;
  kept->longest = kept->prompts.longest;
  return [this, &options, kept](const std::vector<GenerationRow>& growing, const std::vector<GenerationRow>& entering) {
    Tokens tokens;
    std::vector<RowRun> prompt_runs, answer_runs, shared_runs, repeated_runs;
    DecoderInput input;
    input.prompts = &kept->prompt_keys;
    int64_t answered = 0;
    for (const GenerationRow& row : growing) answered = std::max(answered, row.step);
    kept->answers.reserve(answered);
    input.answers = &kept->answers.store();
    for (const GenerationRow& row : growing) {
      const int64_t query = tokens.count();
      answer_runs.push_back({query, 1, kept->answers.place(row.slot, row.step - 1)});
      tokens.add_growing(row, kept->answers);
    }
    const int64_t first = kept->shared;
    if (first > 0 && !entering.empty()) {
      input.shared = &kept->shared_keys;
      if (!kept->shared_computed) {
        shared_runs.push_back({tokens.count(), first, 0});
        tokens.add_prompt(entering[0].start, 0, first, options.input_ids.data());
      }
      kept->shared_computed = true;
      for (const GenerationRow& row : entering) repeated_runs.push_back({0, first, row.start});
    }
    for (const GenerationRow& row : entering) {
      prompt_runs.push_back({tokens.count(), row.length - first, row.start + first});
      tokens.add_entering(row, first, options.input_ids.data() + kept->prompts.starts[row.prompt]);
    }
    Upload upload(embedding_);
    upload.add(tokens.ids, input.ids);
    // As if the longest prompt grew as long as any answer, like a batch of which no row leaves: where the rotation
    // depends on the longest text, keys and later queries have to agree.
    kept->longest = std::max(kept->longest, kept->prompts.longest + answered);
    input.rows.places = rope_.places(tokens.positions, kept->longest, upload);
    input.rows.spans = std::make_shared<SpanList>(std::move(tokens.spans));
    input.rows.spans->join(upload);
    add_runs(input, {prompt_runs, answer_runs, shared_runs, repeated_runs}, upload);
    want(tokens.last, tokens.positions, kept->longest, upload, input, LastLayer::kWanted);
    upload.send();
    return logits_of(stack_.run(input, embedding_, kept->pass));
  };
}

Decoder::Predictions Decoder::option_states(const Sequences& prompts, const Sequences& targets,
                                            const ScoreOptions& options) const {
  const int64_t shared = shared_tokens(options.input_ids, options.input_lengths);
  Tokens tokens;
  std::vector<RowRun> prompt_runs, shared_runs, repeated_runs;
  int64_t longest = prompts.longest;
  if (shared > 0) {
    shared_runs.push_back({0, shared, 0});
    tokens.add_prompt(prompts.starts[0], 0, shared, options.input_ids.data());
  }
  for (int64_t i = 0; i < prompts.count(); ++i) {
    const int64_t place = prompts.starts[i], own = prompts.lengths[i] - shared;
    if (shared > 0) repeated_runs.push_back({0, shared, place});
    prompt_runs.push_back({tokens.count(), own, place + shared});
    tokens.add_prompt(place, shared, prompts.lengths[i], options.input_ids.data() + place);
    tokens.last.push_back(static_cast<int32_t>(tokens.count()) - 1);
  }
  // Every option but its last token, from which nothing is predicted.
  const int64_t first_option = tokens.count();
  std::vector<int32_t> rows;
  for (int64_t i = 0; i < targets.count(); ++i) {
    const int64_t prompt = options.option_prompts[i], start = tokens.count();
    const int64_t before = prompts.lengths[prompt], length = targets.lengths[i] - 1;
    rows.push_back(static_cast<int32_t>(prompt));
    for (int64_t token = 0; token < length; ++token) {
      rows.push_back(static_cast<int32_t>(tokens.last.size()));
      tokens.last.push_back(static_cast<int32_t>(start + token));
      tokens.ids.push_back(options.option_ids[targets.starts[i] + token]);
      tokens.positions.push_back(static_cast<int32_t>(before + token));
    }
    if (length > 0) {
      tokens.spans.push_back({start, length, start - first_option, length, 0, prompts.starts[prompt], before});
    }
    longest = std::max(longest, before + targets.lengths[i]);
  }
  const int64_t option_tokens = tokens.count() - first_option;
  std::vector<RowRun> option_runs;
  if (option_tokens > 0) option_runs.push_back({first_option, option_tokens, 0});

  // Nothing of a layer is needed when the next one is computed.
  const auto store = [&](int64_t of) {
    return KeyValueStore::of_one_layer(config_.num_layers, of, stack_.key_width(),
                                       embedding_.options().dtype(at::kFloat));
  };
  KeyValueStore prompt_keys = store(prompts.tokens), option_keys = store(option_tokens), shared_keys = store(shared);
  DecoderPass pass;
  pass.abort = options.abort;
  Upload upload(embedding_);
  DecoderInput input;
  input.prompts = &prompt_keys;
  input.answers = &option_keys;
  if (shared > 0) input.shared = &shared_keys;
  add_runs(input, {prompt_runs, option_runs, shared_runs, repeated_runs}, upload);
  upload.add(tokens.ids, input.ids);
  input.rows.places = rope_.places(tokens.positions, longest, upload);
  input.rows.spans = std::make_shared<SpanList>(std::move(tokens.spans));
  input.rows.spans->join(upload);
  want(tokens.last, tokens.positions, longest, upload, input, LastLayer::kWanted);
  upload.send();
  return {stack_.run(input, embedding_, pass), std::move(rows)};
}

}  // namespace rkif
