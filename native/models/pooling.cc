#include "models/pooling.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <cmath>
#include <vector>

#include "models/autograd.h"
#include "kernels/row_grain.h"

namespace rkif {
namespace {

constexpr float kShortest = 1e-12f;

float dot(const float* a, const float* b, int64_t d) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < d; ++j) sum += a[j] * b[j];
  return sum;
}

// Texts to give a thread at once.
int64_t text_grain(const Sequences& texts, int64_t d) {
  return row_grain(d * std::max<int64_t>(1, texts.tokens / std::max<int64_t>(1, texts.count())));
}

// Writes the length of every text's mean where `lengths` is not null.
at::Tensor pooled(const at::Tensor& states, const Sequences& texts, float* lengths) {
  const int64_t d = states.size(1);
  at::Tensor out = at::empty({texts.count(), d}, states.options());
  const float* from = states.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, texts.count(), text_grain(texts, d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* y = to + i * d;
      std::fill(y, y + d, 0.0f);
      for (int64_t row = texts.starts[i]; row < texts.starts[i] + texts.lengths[i]; ++row) {
        const float* x = from + row * d;
        for (int64_t j = 0; j < d; ++j) y[j] += x[j];
      }
      const float share = 1.0f / static_cast<float>(texts.lengths[i]);
      for (int64_t j = 0; j < d; ++j) y[j] *= share;
      const float length = std::sqrt(dot(y, y, d));
      const float inverse = 1.0f / std::max(length, kShortest);
      for (int64_t j = 0; j < d; ++j) y[j] *= inverse;
      if (lengths) lengths[i] = length;
    }
  });
  return out;
}

struct PoolingKept {
  at::Tensor out;
  std::vector<float> lengths;
  Sequences texts;
};

// With e the unit vector and m the length of the mean of n rows: each row gets (g - e * (e . g)) / (m * n).
at::Tensor gradient_of_states(const PoolingKept& kept, const at::Tensor& gradient) {
  const Sequences& texts = kept.texts;
  const int64_t d = kept.out.size(1);
  at::Tensor out = at::empty({texts.tokens, d}, kept.out.options());
  const float* e = kept.out.const_data_ptr<float>();
  const float* g = gradient.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, texts.count(), text_grain(texts, d), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* ei = e + i * d;
      const float* gi = g + i * d;
      // A vector too short to be scaled to length 1 was divided by a constant.
      const bool unit = kept.lengths[i] > kShortest;
      const float along = unit ? dot(ei, gi, d) : 0.0f;
      const float factor = 1.0f / (std::max(kept.lengths[i], kShortest) * static_cast<float>(texts.lengths[i]));
      float* first = to + texts.starts[i] * d;
      for (int64_t j = 0; j < d; ++j) first[j] = (gi[j] - ei[j] * along) * factor;
      for (int64_t row = 1; row < texts.lengths[i]; ++row) std::copy(first, first + d, first + row * d);
    }
  });
  return out;
}

struct PoolingFunction : torch::autograd::Function<PoolingFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& states, const Sequences& texts) {
    std::vector<float> lengths(texts.count());
    at::Tensor out = pooled(states, texts, lengths.data());
    keep(context, PoolingKept{values_of(out), std::move(lengths), texts});
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {gradient_of_states(take<PoolingKept>(context), gradients[0].contiguous()), at::Tensor()};
  }
};

}  // namespace

at::Tensor mean_unit_vectors(const at::Tensor& states, const Sequences& texts) {
  at::Tensor in = states.contiguous();
  return tracks(in) ? PoolingFunction::apply(in, texts) : pooled(in, texts, nullptr);
}

}  // namespace rkif
