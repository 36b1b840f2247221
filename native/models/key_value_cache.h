// Keys and values of the tokens that a generation has made so far.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/packed.h"

namespace rkif {

struct KeyValues {
  at::Tensor keys;
  at::Tensor values;
};

// Token t of row r stands at r * capacity + t in every layer.
class KeyValueCache {
 public:
  // `rows` answers of at most `most` tokens; `width`: columns of keys and of values.
  KeyValueCache(int64_t layers, int64_t rows, int64_t most, int64_t width);

  // Makes room for token `step` of the rows in `active`: the next store() of every layer puts it there. Most answers
  // are short: the room grows as they do.
  void begin(const std::vector<int32_t>& active, int64_t step);
  // Adds this step's keys and values of a layer and returns all of them.
  const KeyValues& store(int64_t layer, const KeyValues& step);
  int64_t capacity() const { return capacity_; }

 private:
  void grow(int64_t capacity);

  std::vector<KeyValues> layers_;
  at::Tensor positions_;
  int64_t rows_;
  int64_t most_;
  int64_t capacity_;
};

}  // namespace rkif
