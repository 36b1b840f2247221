// Packed batches from JS, checked as a whole before any of it reaches the compute thread.
#pragma once
#include <vector>

#include "addon/arguments.h"
#include "models/model.h"

namespace rkif::addon {

// What the ids of a batch may be.
struct BatchLimits {
  int64_t vocab_size;
  bool encoder;  // labels are numbers of candidates, which the batch brings along
};

struct PackedTexts {
  std::vector<int32_t> ids;
  std::vector<int32_t> lengths;
};

Batch read_batch(const Argument& batch, const BatchLimits& limits);
// inputIds and inputLengths.
PackedTexts read_texts(const Argument& texts, int64_t vocab_size);
GenerateOptions read_generate_options(const Argument& options, int64_t vocab_size);
ScoreOptions read_score_options(const Argument& options, int64_t vocab_size);

}  // namespace rkif::addon
