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

// log softmax of a few rows at a time: visit(first row, the rows, their log softmax).
template <typename Visit>
void for_chunks(const at::Tensor& logits, const Visit& visit) {
  at::NoGradGuard no_grad;
  TORCH_CHECK(logits.is_contiguous(), "loss: the logits are not contiguous");
  const int64_t rows = logits.size(0), step = chunk_rows(logits.size(1));
  for (int64_t begin = 0; begin < rows; begin += step) {
    at::Tensor chunk = logits.narrow(0, begin, std::min(step, rows - begin));
    visit(begin, chunk, at::log_softmax(chunk, 1));
  }
}

}  // namespace

std::vector<double> cross_entropy(const at::Tensor& logits, const std::vector<int32_t>& labels) {
  std::vector<int32_t> rows(logits.size(0));
  std::iota(rows.begin(), rows.end(), 0);
  return cross_entropy(logits, rows, labels);
}

std::vector<double> cross_entropy(const at::Tensor& logits, const std::vector<int32_t>& rows,
                                  const std::vector<int32_t>& labels) {
  const int64_t vocabulary = logits.size(1);
  TORCH_CHECK(rows.size() == labels.size() && std::is_sorted(rows.begin(), rows.end()) &&
                  (rows.empty() || rows.back() < logits.size(0)),
              "loss: ", rows.size(), " rows for ", labels.size(), " labels, or rows that fall or are not there");
  std::vector<double> result;
  for_chunks(logits, [&](int64_t begin, const at::Tensor& chunk, const at::Tensor& log_p) {
    const float* values = log_p.const_data_ptr<float>();
    for (size_t i = result.size(); i < rows.size() && rows[i] < begin + chunk.size(0); ++i) {
      result.push_back(-double{values[(rows[i] - begin) * vocabulary + labels[i]]});
    }
  });
  return result;
}

std::vector<double> cross_entropy_into_gradient(const at::Tensor& logits, const std::vector<int32_t>& labels,
                                                double scale) {
  const int64_t vocabulary = logits.size(1);
  TORCH_CHECK(logits.size(0) == static_cast<int64_t>(labels.size()), "loss: ", logits.size(0), " rows for ",
              labels.size(), " labels");
  std::vector<double> result;
  for_chunks(logits, [&](int64_t begin, at::Tensor chunk, const at::Tensor& log_p) {
    const int32_t* label = labels.data() + begin;
    const float* values = log_p.const_data_ptr<float>();
    for (int64_t i = 0; i < chunk.size(0); ++i) result.push_back(-double{values[i * vocabulary + label[i]]});
    at::exp_out(chunk, log_p);
    float* gradient = chunk.mutable_data_ptr<float>();
    for (int64_t i = 0; i < chunk.size(0); ++i) gradient[i * vocabulary + label[i]] -= 1.0f;
    chunk.mul_(scale);
  });
  return result;
}

LossReport backward_of_cross_entropy(const at::Tensor& logits, const std::vector<int32_t>& labels, double scale) {
  at::Tensor gradient = logits.detach();
  const std::vector<double> found = cross_entropy_into_gradient(gradient, labels, scale);
  if (logits.requires_grad()) torch::autograd::backward({logits}, {gradient});
  return {std::accumulate(found.begin(), found.end(), 0.0), static_cast<int64_t>(labels.size())};
}

}  // namespace rkif
