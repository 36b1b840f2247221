// Keys and values that a generation keeps: those of prompts, and those of the tokens made so far. Scoring of options
// uses them layer by layer.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "models/upload.h"

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

// What is copied in every layer alike. The indices that a device copies by go there once, however many layers there
// are.
class RowRunList {
 public:
  explicit RowRunList(std::vector<RowRun> runs) : runs_(std::move(runs)) {}
  const std::vector<RowRun>& runs() const { return runs_; }
  // Copies them, on the device that both are on.
  void copy(const at::Tensor& from, const at::Tensor& to) const;
  // The indices go along: copy() sends nothing then.
  void join(Upload& upload) const;

 private:
  void copy_by_index(const at::Tensor& from, const at::Tensor& to) const;
  // Whether the runs' rows lie end to end where they come from.
  bool end_to_end() const;

  std::vector<RowRun> runs_;
  // sources_ only where the rows do not lie end to end.
  mutable at::Tensor sources_, targets_;
};
using RowRuns = std::shared_ptr<const RowRunList>;

// A fixed number of tokens in every layer. What has not been written is undefined, and takes no memory yet.
class KeyValueStore {
 public:
  // `width`: columns of keys and of values. `options`: fp32 on the model's device.
  KeyValueStore(int64_t layers, int64_t tokens, int64_t width, const at::TensorOptions& options);
  // Room for one layer, where what each writes takes the place of what the one before it has written.
  static KeyValueStore of_one_layer(int64_t layers, int64_t tokens, int64_t width, const at::TensorOptions& options);

  void write(int64_t layer, const KeyValues& computed, const RowRunList& runs);
  // Of another size from now on, with what the runs name where they say.
  void resize(int64_t tokens, const RowRunList& runs);
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
