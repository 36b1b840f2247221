#include "models/head.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>

#include "kernels/matmul_narrow.h"
#include "kernels/vocabulary.h"
#include "models/autograd.h"
#include "models/device.h"
#include "models/loss.h"
#include "models/profile.h"

namespace rkif {
namespace {

constexpr const char* kVocabulary = "rkif::vocabulary";

at::Tensor scaled(const at::Tensor& states, double scale) { return scale == 1 ? states : at::mul(states, scale); }

// On a GPU. Of a bf16 weight: of x rounded to bf16, with fp32 sums that stay fp32.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight) {
  NamedWork work(kVocabulary);
  if (weight.scalar_type() == at::kFloat) return at::mm(x, weight);
  return at::mm(x.to(weight.scalar_type()), weight, at::kFloat);
}

// Of a frozen layer, without a graph.
at::Tensor logits_of(const at::Tensor& states, const at::Tensor& weight) {
  const at::Tensor in = states.contiguous();
  if (!in.device().is_cpu()) return product(in, weight.t());
  NamedWork work(kVocabulary);
  at::Tensor logits = at::empty({in.size(0), weight.size(0)}, in.options());
  vocabulary_logits(in.size(0), weight.size(0), weight.size(1), in.const_data_ptr<float>(),
                    weight.const_data_ptr<float>(), logits.mutable_data_ptr<float>());
  return logits;
}

// Of a frozen layer on a GPU.
struct HeadFunction : torch::autograd::Function<HeadFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& states, const at::Tensor& weight) {
    keep(context, weight);
    return product(states.contiguous(), weight.t());
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {product(gradients[0].contiguous(), take<at::Tensor>(context)), at::Tensor()};
  }
};

// The layer's weight as steps that train read it.
const at::Tensor& trained_with(const Linear& layer, const ModelOptions& options) {
  if (options.base_type != BaseType::kBFloat16) return layer.weight;
  // The CPU's kernels can round as they read.
  const bool copies =
      !options.device.is_cpu() || (options.prepack && multiplies_bfloat16() && layer.weight.size(1) % 2 == 0);
  return copies ? layer.rounded() : layer.weight;
}

// On a CPU, of a frozen layer.
LossReport backward_without_logits(const at::Tensor& states, const std::vector<int32_t>& labels,
                                   const at::Tensor& weight, bool narrow, const AccumulateOptions& options) {
  at::Tensor log_p, gradient;
  {
    at::NoGradGuard no_grad;
    NamedWork work(kVocabulary);
    const at::Tensor in = states.contiguous();
    TORCH_CHECK(in.size(0) == static_cast<int64_t>(labels.size()), "loss: ", in.size(0), " rows for ", labels.size(),
                " labels");
    log_p = at::empty({in.size(0)}, in.options());
    gradient = at::empty_like(in);
    CrossEntropy of{in.size(0), weight.size(0), weight.size(1), in.const_data_ptr<float>(), labels.data()};
    const at::Tensor scratch = at::empty({of.scratch_floats()}, in.options());
    of.scale = static_cast<float>(options.loss_scale / options.divisor);
    of.log_p = log_p.mutable_data_ptr<float>();
    of.grad_x = gradient.mutable_data_ptr<float>();
    of.scratch = scratch.mutable_data_ptr<float>();
    if (weight.scalar_type() == at::kBFloat16) {
      vocabulary_cross_entropy(of, bfloat16_values(weight));
    } else {
      vocabulary_cross_entropy(of, weight.const_data_ptr<float>(), narrow);
    }
  }
  return backward_of_losses(states, gradient, {log_p}, options);
}

}  // namespace

at::Tensor vocabulary_logits(const at::Tensor& states, const VocabularyHead& head, const ModelOptions& options) {
  const at::Tensor rows = scaled(states, head.scale);
  if (tracks(head.layer.weight)) return linear(rows, head.layer);
  return tracks(rows) ? HeadFunction::apply(rows, trained_with(head.layer, options))
                      : logits_of(rows, head.layer.weight);
}

LossReport backward_of_labels(const at::Tensor& states, const std::vector<int32_t>& labels, const VocabularyHead& head,
                              const ModelOptions& options, const AccumulateOptions& accumulate) {
  if (!states.device().is_cpu() || tracks(head.layer.weight) || !tracks(states)) {
    return backward_of_cross_entropy(vocabulary_logits(states, head, options), labels, accumulate);
  }
  return backward_without_logits(scaled(states, head.scale), labels, trained_with(head.layer, options),
                                 options.base_type == BaseType::kBFloat16, accumulate);
}

}  // namespace rkif
