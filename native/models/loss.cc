#include "models/loss.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/log_softmax.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "models/device.h"

namespace rkif {
namespace {

// Rows of a temporary of about 4 MB, which stays in a CPU's cache; a GPU wants more work at once.
int64_t chunk_rows(const at::Tensor& logits) {
  const int64_t elements = logits.device().is_cpu() ? int64_t{1} << 20 : int64_t{1} << 26;
  return std::max<int64_t>(1, elements / logits.size(1));
}

// log softmax of a few rows at a time: visit(first row, the rows, their log softmax).
template <typename Visit>
void for_chunks(const at::Tensor& logits, const Visit& visit) {
  at::NoGradGuard no_grad;
  TORCH_CHECK(logits.is_contiguous(), "loss: the logits are not contiguous");
  const int64_t rows = logits.size(0), step = chunk_rows(logits);
  for (int64_t begin = 0; begin < rows; begin += step) {
    at::Tensor chunk = logits.narrow(0, begin, std::min(step, rows - begin));
    visit(begin, chunk, at::log_softmax(chunk, 1));
  }
}

}  // namespace

std::vector<double> losses_of(const std::vector<at::Tensor>& log_p) {
  if (log_p.empty()) return {};
  at::Tensor here = on_host(at::cat(log_p));
  const float* values = here.const_data_ptr<float>();
  std::vector<double> losses(here.numel());
  for (size_t i = 0; i < losses.size(); ++i) losses[i] = -double{values[i]};
  return losses;
}

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
  std::vector<at::Tensor> found;
  size_t next = 0;
  for_chunks(logits, [&](int64_t begin, const at::Tensor& chunk, const at::Tensor& log_p) {
    std::vector<int64_t> places;
    for (; next < rows.size() && rows[next] < begin + chunk.size(0); ++next) {
      places.push_back((rows[next] - begin) * vocabulary + labels[next]);
    }
    found.push_back(at::index_select(log_p.view(-1), 0, tensor_beside(logits, places, at::kLong)));
  });
  return losses_of(found);
}

std::vector<at::Tensor> cross_entropy_into_gradient(const at::Tensor& logits, const std::vector<int32_t>& labels,
                                                    double scale) {
  TORCH_CHECK(logits.size(0) == static_cast<int64_t>(labels.size()), "loss: ", logits.size(0), " rows for ",
              labels.size(), " labels");
  std::vector<at::Tensor> found;
  const std::vector<int64_t> columns(labels.begin(), labels.end());
  const at::Tensor all = tensor_beside(logits, columns, at::kLong).unsqueeze(1);
  const at::Tensor less = at::full({1, 1}, -1.0, logits.options());
  for_chunks(logits, [&](int64_t begin, at::Tensor chunk, const at::Tensor& log_p) {
    const at::Tensor label = all.narrow(0, begin, chunk.size(0));
    found.push_back(at::gather(log_p, 1, label).squeeze(1));
    at::exp_out(chunk, log_p);
    chunk.scatter_add_(1, label, less.expand({chunk.size(0), 1}));
    chunk.mul_(scale);
  });
  return found;
}

LossReport backward_of_losses(const at::Tensor& of, const at::Tensor& gradient, const std::vector<at::Tensor>& log_p,
                              const AccumulateOptions& options) {
  int64_t label_tokens = 0;
  for (const at::Tensor& some : log_p) label_tokens += some.numel();
  if (options.report.defined() && label_tokens > 0) {
    at::NoGradGuard no_grad;
    const at::Tensor all = at::cat(log_p);
    kernels_of(all).add_losses(all.numel(), all.const_data_ptr<float>(), values_in<StepReport>(options.report));
  }
  if (of.requires_grad()) torch::autograd::backward({of}, {gradient});
  if (options.report.defined()) return {std::numeric_limits<double>::quiet_NaN(), label_tokens};
  // Read last: a GPU has the backward pass to do while the host waits for the forward pass's result.
  const std::vector<double> found = losses_of(log_p);
  return {std::accumulate(found.begin(), found.end(), 0.0), label_tokens};
}

LossReport backward_of_cross_entropy(const at::Tensor& logits, const std::vector<int32_t>& labels,
                                     const AccumulateOptions& options) {
  const at::Tensor gradient = logits.detach();
  return backward_of_losses(
      logits, gradient, cross_entropy_into_gradient(gradient, labels, options.loss_scale / options.divisor), options);
}

}  // namespace rkif
