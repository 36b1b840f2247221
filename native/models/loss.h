// Cross entropy of chosen rows: log-softmax in fp32, sums in double by whoever adds them.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/model.h"

namespace rkif {

// -log softmax(logits[i])[labels[i]] of every row. logits: [rows, vocabulary] fp32, contiguous.
std::vector<double> cross_entropy(const at::Tensor& logits, const std::vector<int32_t>& labels);

// -log softmax(logits[rows[i]])[labels[i]] of every label; the rows do not fall.
std::vector<double> cross_entropy(const at::Tensor& logits, const std::vector<int32_t>& rows,
                                  const std::vector<int32_t>& labels);

// The losses of labels whose log probabilities a device computes: waits for it.
std::vector<double> losses_of(const std::vector<at::Tensor>& log_probabilities);

// The labels' log probabilities, a tensor every few rows, for losses_of(); and `logits` becomes the gradient of scale *
// (sum of the losses): scale * (softmax - one-hot). In place and a few rows at a time, as this matrix is the largest
// activation of a small model.
std::vector<at::Tensor> cross_entropy_into_gradient(const at::Tensor& logits, const std::vector<int32_t>& labels,
                                                    double scale);

// What the options say of the sum of the losses whose log probabilities these are; `gradient`, that of the sum *
// loss_scale / divisor, goes back through the graph that made `of`.
LossReport backward_of_losses(const at::Tensor& of, const at::Tensor& gradient, const std::vector<at::Tensor>& log_p,
                              const AccumulateOptions& options);

// The same of the labels' losses after logits, which must be the output of an operation that does not keep them: the
// gradient takes their place.
LossReport backward_of_cross_entropy(const at::Tensor& logits, const std::vector<int32_t>& labels,
                                     const AccumulateOptions& options);

}  // namespace rkif
