// Packed batches from JS, checked as a whole before any of it reaches the compute thread.
#pragma once
#include "addon/arguments.h"
#include "models/model.h"

namespace rkif::addon {

Batch read_batch(const Argument& batch, int64_t vocab_size);
GenerateOptions read_generate_options(const Argument& options, int64_t vocab_size, int64_t default_eos);
ScoreOptions read_score_options(const Argument& options, int64_t vocab_size);

}  // namespace rkif::addon
