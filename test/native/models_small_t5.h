// A small T5 with random weights, and batches for it, made in the test itself.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "models/t5.h"

namespace rkif::test {

// 2 + 2 layers of width 24 with 3 heads of 6; vocabulary 40.
T5Config small_config(Activation activation = Activation::kRelu, bool gated = false, bool tied = true);
// An adapter of rank 4 on those of the modules whose last component is a target.
ModelOptions adapter_options(const std::vector<std::string>& modules, const std::vector<std::string>& targets,
                             double dropout);
// On a small T5 that is not gated.
ModelOptions lora_options(double dropout = 0.1, const std::vector<std::string>& targets = {"q", "v", "wo"});
ModelOptions full_options();
// Weights for the configuration, the same at every call. Large enough that every part of the model matters to the loss.
Weights random_weights(const T5Config& config);
// Fills a tensor with reproducible values of about `deviation`.
void fill_random(const at::Tensor& tensor, uint64_t seed, double deviation);
// An fp32 matrix of such values.
at::Tensor random_matrix(int64_t rows, int64_t columns, uint64_t seed, double deviation = 1);
// A model whose adapter, where it has one, is random as well.
std::unique_ptr<Model> small_model(const T5Config& config, const ModelOptions& options);

// Records of different lengths; some labels are -100.
Batch small_batch();
// The chosen records in the order given, with all candidates.
Batch part_of(const Batch& batch, const std::vector<int>& records);

std::vector<float> values(const at::Tensor& tensor);
// Largest difference relative to the largest expected value.
double relative_difference(const std::vector<float>& actual, const std::vector<float>& expected);

}  // namespace rkif::test
