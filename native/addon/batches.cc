#include "addon/batches.h"

#include <string>

#include "addon/abort_flag.h"
#include "addon/errors.h"

namespace rkif::addon {

namespace {

std::vector<int32_t> read_ids(const Argument& argument, int64_t count, bool labels, const char* what = "a token") {
  std::vector<int32_t> ids = argument.int32s();
  for (size_t i = 0; i < ids.size(); ++i)
    if ((ids[i] < 0 || ids[i] >= count) && !(labels && ids[i] == -100))
      throw invalid_argument(argument.env(), argument.name + "[" + std::to_string(i) + "] is " +
                                                 std::to_string(ids[i]) + ", expected " + what + "'s number below " +
                                                 std::to_string(count) + (labels ? ", or -100" : ""));
  return ids;
}

// Lengths of at least 1 that add up to the ids.
std::vector<int32_t> read_lengths(const Argument& argument, size_t ids, const char* ids_name) {
  std::vector<int32_t> lengths = argument.int32s();
  int64_t sum = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] < 1)
      throw invalid_argument(argument.env(), argument.name + "[" + std::to_string(i) + "] is " +
                                                 std::to_string(lengths[i]) + ", expected at least 1");
    sum += lengths[i];
  }
  if (sum != static_cast<int64_t>(ids))
    throw invalid_argument(argument.env(), argument.name + " add up to " + std::to_string(sum) + ", but " + ids_name +
                                               " has " + std::to_string(ids));
  return lengths;
}

void same_count(const Argument& argument, size_t found, size_t expected, const char* of) {
  if (found != expected)
    throw invalid_argument(argument.env(), argument.name + " has " + std::to_string(found) + " entries, expected " +
                                               std::to_string(expected) + ", one for each " + of);
}

void not_empty(const Argument& argument, size_t count) {
  if (count == 0) throw invalid_argument(argument.env(), argument.name + " is empty, expected at least one entry");
}

}  // namespace

Batch read_batch(const Argument& batch, const BatchLimits& limits) {
  Batch result;
  result.input_ids = read_ids(batch["inputIds"], limits.vocab_size, false);
  result.input_lengths = read_lengths(batch["inputLengths"], result.input_ids.size(), "inputIds");
  int64_t labels = limits.vocab_size;
  if (limits.encoder) {
    result.candidate_ids = read_ids(batch["candidateIds"], limits.vocab_size, false);
    result.candidate_lengths = read_lengths(batch["candidateLengths"], result.candidate_ids.size(), "candidateIds");
    not_empty(batch["candidateLengths"], result.candidate_lengths.size());
    labels = static_cast<int64_t>(result.candidate_lengths.size());
  }
  result.labels = read_ids(batch["labels"], labels, true, limits.encoder ? "a candidate" : "a token");
  result.label_lengths = read_lengths(batch["labelLengths"], result.labels.size(), "labels");
  result.record_keys = batch["recordKeys"].uint32s();
  not_empty(batch["inputLengths"], result.input_lengths.size());
  same_count(batch["labelLengths"], result.label_lengths.size(), result.input_lengths.size(), "record");
  same_count(batch["recordKeys"], result.record_keys.size(), result.input_lengths.size(), "record");
  return result;
}

PackedTexts read_texts(const Argument& texts, int64_t vocab_size) {
  PackedTexts result;
  result.ids = read_ids(texts["inputIds"], vocab_size, false);
  result.lengths = read_lengths(texts["inputLengths"], result.ids.size(), "inputIds");
  not_empty(texts["inputLengths"], result.lengths.size());
  return result;
}

GenerateOptions read_generate_options(const Argument& options, int64_t vocab_size) {
  GenerateOptions result;
  PackedTexts prompts = read_texts(options, vocab_size);
  result.input_ids = std::move(prompts.ids);
  result.input_lengths = std::move(prompts.lengths);
  result.max_new_tokens = options["maxNewTokens"].integer(1);
  if (!options["minNewTokens"].missing()) result.min_new_tokens = options["minNewTokens"].integer(0);
  if (!options["batchTokens"].missing()) result.batch_tokens = options["batchTokens"].integer(1);
  if (!options["batchRows"].missing()) result.batch_rows = options["batchRows"].integer(1);
  for (const Argument& end : options["endTokenIds"].elements()) {
    result.end_token_ids.push_back(static_cast<int32_t>(end.integer(0, vocab_size - 1)));
  }
  Argument sampling = options["sampling"];
  if (!sampling.missing()) {
    result.sampling = Sampling{sampling["temperature"].number(),
                               sampling["topP"].number(),
                               static_cast<uint64_t>(sampling["seed"].integer(0)),
                               {}};
    if (!sampling["keys"].missing()) {
      result.sampling->keys = sampling["keys"].uint32s();
      same_count(sampling["keys"], result.sampling->keys.size(), result.input_lengths.size(), "prompt");
    }
    if (!(result.sampling->temperature > 0)) sampling["temperature"].refuse("a number above 0");
    double top_p = result.sampling->top_p;
    if (!(top_p > 0 && top_p <= 1)) sampling["topP"].refuse("a number above 0 and at most 1");
  }
  result.abort = AbortHandle::optional(options["abort"]);
  return result;
}

ScoreOptions read_score_options(const Argument& options, int64_t vocab_size) {
  ScoreOptions result;
  PackedTexts prompt_texts = read_texts(options, vocab_size);
  result.input_ids = std::move(prompt_texts.ids);
  result.input_lengths = std::move(prompt_texts.lengths);
  result.option_ids = read_ids(options["optionIds"], vocab_size, false);
  result.option_lengths = read_lengths(options["optionLengths"], result.option_ids.size(), "optionIds");
  not_empty(options["optionLengths"], result.option_lengths.size());
  Argument prompts = options["optionPrompts"];
  result.option_prompts = prompts.int32s();
  same_count(prompts, result.option_prompts.size(), result.option_lengths.size(), "option");
  for (size_t i = 0; i < result.option_prompts.size(); ++i)
    if (result.option_prompts[i] < 0 || result.option_prompts[i] >= static_cast<int64_t>(result.input_lengths.size()))
      throw invalid_argument(options.env(), prompts.name + "[" + std::to_string(i) + "] is " +
                                                std::to_string(result.option_prompts[i]) +
                                                ", expected the index of one of " +
                                                std::to_string(result.input_lengths.size()) + " prompts");
  result.abort = AbortHandle::optional(options["abort"]);
  return result;
}

}  // namespace rkif::addon
