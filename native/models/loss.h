// Cross entropy of chosen rows: log-softmax in fp32, sums in double by whoever adds them.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace rkif {

// -log softmax(logits[i])[labels[i]] of every row. logits: [rows, vocabulary] fp32, contiguous.
std::vector<double> cross_entropy(const at::Tensor& logits, const std::vector<int32_t>& labels);

// The same, and `logits` becomes the gradient of scale * (sum of the losses): scale * (softmax - one-hot). In place and
// a few rows at a time, as this matrix is the largest activation of a small model.
std::vector<double> cross_entropy_into_gradient(const at::Tensor& logits, const std::vector<int32_t>& labels,
                                                double scale);

}  // namespace rkif
