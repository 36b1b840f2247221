// Attention to states whose keys and values are never made. A score is q . (K x) = (K^T q) . x, and a mixture
// sum(p V x) = V sum(p x): where few queries attend to many states, it takes less to bring the queries to the states,
// and their mixture back, than every state to its keys and values.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/head_products.h"
#include "models/linear.h"

namespace rkif {

// Made from the layers of keys and of values as they are now, adapters included; for evaluation, without gradients.
class AbsorbedKeys {
 public:
  AbsorbedKeys(const Linear& keys, const Linear& values, int64_t heads);

  // What is to attend: `queries` of each of `sequences` at once, which have `states` altogether. Queries that come one
  // after another count as one: each would read keys and values from memory, and reads the states alone.
  struct Work {
    int64_t sequences;
    int64_t states;
    int64_t queries;
  };
  // Whether that takes less time so, and no more memory, on the device of `like`.
  static bool pays(const Work& work, int64_t head_size, int64_t width, const at::Tensor& like);

  // [rows, heads * head size] -> [rows, heads * width]: attend() takes them with the states, of `width` columns, as one
  // head of keys and values that all heads share.
  at::Tensor queries(const at::Tensor& q) const;
  // What attend() gives then, [rows, heads * width] -> [rows, heads * head size].
  at::Tensor values(const at::Tensor& mixed) const;

 private:
  HeadWeights weights(const at::Tensor& of) const;

  int64_t heads_;
  at::Tensor keys_, values_;  // [heads * head size, width], fp32
};

}  // namespace rkif
