// Checks of loss and gradients that hold for every family.
#pragma once
#include <functional>

#include "models_small_t5.h"

namespace rkif::test {

// Dropout on, a divisor of 17.
AccumulateOptions with_dropout();

struct Result {
  LossReport report;
  std::vector<float> gradients;
};
// Loss and gradients of the parts together.
Result run(Model& model, const std::vector<Batch>& parts, const AccumulateOptions& options);

// Loss and gradients of the batch's five records are the same in any order and split, and differ in another step.
void check_batching(Model& model, const Batch& batch);

// Loss, gradients and the sums of outputs are those of a model without gradient checkpointing, and the same bits again.
// `make` makes the model.
void check_checkpointing(const std::function<std::unique_ptr<Model>(const ModelOptions&)>& make, ModelOptions options,
                         const Batch& batch);

// The directional derivative of the loss along a random direction within each tensor, by central differences.
void check_derivatives(Model& model, const Batch& batch);

}  // namespace rkif::test
