// Linear layers without bias, frozen or trained, with an optional low-rank adapter (Hu et al., arXiv 2106.09685).
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "models/dropout.h"
#include "models/model.h"

namespace rkif {

// y = W x + scale * B (A dropout(x)). W: [out, in], fp32 or bf16; A: [r, in] and B: [out, r], fp32.
class Linear {
 public:
  at::Tensor weight;
  at::Tensor a;
  at::Tensor b;
  float scale = 0;

  bool adapted() const { return a.defined(); }
  // Whether the adapter's path is to be computed: it is there and not folded into the weight.
  bool adapter_active() const { return a.defined() && !original_.defined(); }

  // Puts W + scale * B A, rounded to W's type, in W's place; the original is kept, not recomputed. For adapted layers.
  void merge();
  void unmerge();

 private:
  at::Tensor original_;
};

// x: [rows, in] fp32 -> [rows, out] fp32. `adapter_dropout` acts on the input of A only. A bf16 weight takes x rounded
// to bf16 (the adapter does not).
at::Tensor linear(const at::Tensor& x, const Linear& layer, const Dropout& adapter_dropout = {});

// alpha / r, or alpha / sqrt(r) for rsLoRA (Kalajdzievski, arXiv 2312.03732).
double lora_scale(const LoraConfig& config);

// Which of the modules PEFT would adapt: those whose path equals a target or ends in "." + target. Throws
// std::invalid_argument naming a target that matches none, with the candidates.
std::vector<bool> match_targets(const std::vector<std::string>& modules, const std::vector<std::string>& targets);

}  // namespace rkif
