// Keys and values that a generation keeps: those of prompts, and those of the tokens made so far.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace rkif {

struct KeyValues {
  at::Tensor keys;
  at::Tensor values;
};

// `count` rows from `from` on, and where they go.
struct RowRun {
  int64_t from;
  int64_t count;
  int64_t to;
};

// A fixed number of tokens in every layer. What has not been written is undefined, and takes no memory yet.
class KeyValueStore {
 public:
  // `width`: columns of keys and of values. `options`: fp32 on the model's device.
  KeyValueStore(int64_t layers, int64_t tokens, int64_t width, const at::TensorOptions& options);

  void write(int64_t layer, const KeyValues& computed, const std::vector<RowRun>& runs);
  // Of another size from now on, with what the runs name where they say.
  void resize(int64_t tokens, const std::vector<RowRun>& runs);
  const std::vector<KeyValues>& layers() const { return layers_; }

 private:
  std::vector<KeyValues> layers_;
};

// Answers: token t of slot s stands at place(s, t).
class AnswerKeys {
 public:
  // Answers of at most `most` tokens.
  AnswerKeys(int64_t layers, int64_t slots, int64_t most, int64_t width, const at::TensorOptions& options);

  // Makes room for `tokens` of every answer. Most answers are short: the room grows as they do.
  void reserve(int64_t tokens);
  int64_t place(int64_t slot, int64_t token) const { return slot * capacity_ + token; }
  KeyValueStore& store() { return store_; }

 private:
  int64_t slots_;
  int64_t most_;
  int64_t capacity_;
  KeyValueStore store_;
};

}  // namespace rkif
