// Sequences laid end to end, and what attention and dropout need to know of their boundaries.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/upload.h"

namespace rkif {

struct Sequences {
  std::vector<int64_t> starts;
  std::vector<int64_t> lengths;
  int64_t tokens = 0;
  int64_t longest = 0;

  Sequences() = default;
  explicit Sequences(const std::vector<int32_t>& sequence_lengths);
  int64_t count() const { return static_cast<int64_t>(lengths.size()); }
};

// For each row of a packed matrix, the record it belongs to and its position there.
struct RowPlaces {
  std::vector<uint32_t> records;
  std::vector<uint32_t> positions;

  RowPlaces(const Sequences& sequences, const std::vector<uint32_t>& record_keys);
  int64_t count() const { return static_cast<int64_t>(records.size()); }
  // The records, then the positions, as 32 bits each, where `like` is: copied there once.
  const at::Tensor& beside(const at::Tensor& like) const;
  // Goes along: beside() copies nothing then.
  void join(Upload& upload) const;
  // Those of some rows, in their order.
  RowPlaces of(const std::vector<int32_t>& rows) const;

 private:
  RowPlaces() = default;
  std::vector<uint32_t> both() const;

  mutable at::Tensor placed_;
};

// 0, 1, ... of every sequence.
std::vector<int32_t> positions_of(const Sequences& sequences);

// The spans of a batch, which go to a device once, however many layers attend by them.
class SpanList {
 public:
  explicit SpanList(std::vector<AttentionSpan> spans) : spans_(std::move(spans)) {}
  const std::vector<AttentionSpan>& spans() const { return spans_; }
  // The list as kernels on the device of `like` take it.
  DeviceSpans beside(const at::Tensor& like) const;
  // Goes along: beside() copies nothing then.
  void join(Upload& upload) const;

 private:
  std::vector<AttentionSpan> spans_;
  mutable at::Tensor placed_;
};
using Spans = std::shared_ptr<const SpanList>;

// Sequence i of `queries` attends to sequence keys_of[i] of `keys` (to sequence i where keys_of is empty). `records`
// may be empty: no dropout.
Spans attention_spans(const Sequences& queries, const Sequences& keys, const std::vector<int32_t>& keys_of,
                      const std::vector<uint32_t>& records);

// Where only some rows of causal spans are wanted: of every span, the rows from the first that is wanted to the last.
struct WantedRows {
  // Both in ascending order; every wanted row belongs to a span.
  WantedRows(const SpanList& all, const std::vector<int32_t>& wanted);

  std::vector<int32_t> rows;
  std::vector<AttentionSpan> spans;  // `rows` are their queries
  std::vector<int32_t> chosen;       // those of `rows` that are wanted
};

constexpr int32_t kIgnoredLabel = -100;

enum class Labels { kNo, kYes };

// Refuses ids that do not fill the lengths exactly or lie outside the vocabulary, and sequences shorter than
// `shortest`. `what` names them in the message (std::invalid_argument). Labels may be -100.
void check_packed(const std::string& what, const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths,
                  int32_t shortest, int64_t vocabulary, Labels labels);

}  // namespace rkif
