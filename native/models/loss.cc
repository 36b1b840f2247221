#include "models/loss.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <numeric>

namespace rkif {
namespace {

// Rows of a temporary of about 4 MB.
int64_t chunk_rows(int64_t vocabulary) { return std::max<int64_t>(1, (int64_t{1} << 20) / vocabulary); }

std::vector<double> losses(const at::Tensor& logits, const std::vector<int32_t>& labels, const double* gradient_scale) {
  at::NoGradGuard no_grad;
  int64_t rows = logits.size(0), vocabulary = logits.size(1);
  TORCH_CHECK(rows == static_cast<int64_t>(labels.size()) && logits.is_contiguous(), "loss: ", rows, " rows for ",
              labels.size(), " labels");
  std::vector<double> result(rows);
  int64_t step = chunk_rows(vocabulary);
  for (int64_t begin = 0; begin < rows; begin += step) {
    int64_t count = std::min(step, rows - begin);
    at::Tensor chunk = logits.narrow(0, begin, count);
    at::Tensor log_p = at::log_softmax(chunk, 1);
    const float* values = log_p.const_data_ptr<float>();
    for (int64_t i = 0; i < count; ++i) result[begin + i] = -double{values[i * vocabulary + labels[begin + i]]};
    if (gradient_scale) {
      at::exp_out(chunk, log_p);
      float* gradient = chunk.mutable_data_ptr<float>();
      for (int64_t i = 0; i < count; ++i) gradient[i * vocabulary + labels[begin + i]] -= 1.0f;
      chunk.mul_(*gradient_scale);
    }
  }
  return result;
}

}  // namespace

std::vector<double> cross_entropy(const at::Tensor& logits, const std::vector<int32_t>& labels) {
  return losses(logits, labels, nullptr);
}

std::vector<double> cross_entropy_into_gradient(const at::Tensor& logits, const std::vector<int32_t>& labels,
                                                double scale) {
  return losses(logits, labels, &scale);
}

LossReport backward_of_cross_entropy(const at::Tensor& logits, const std::vector<int32_t>& labels, double scale) {
  at::Tensor gradient = logits.detach();
  const std::vector<double> found = cross_entropy_into_gradient(gradient, labels, scale);
  if (logits.requires_grad()) torch::autograd::backward({logits}, {gradient});
  return {std::accumulate(found.begin(), found.end(), 0.0), static_cast<int64_t>(labels.size())};
}

}  // namespace rkif
