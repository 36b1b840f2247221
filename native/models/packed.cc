#include "models/packed.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace rkif {

Sequences::Sequences(const std::vector<int32_t>& sequence_lengths) {
  starts.reserve(sequence_lengths.size());
  lengths.reserve(sequence_lengths.size());
  for (int32_t length : sequence_lengths) {
    starts.push_back(tokens);
    lengths.push_back(length);
    tokens += length;
    longest = std::max<int64_t>(longest, length);
  }
}

std::vector<int32_t> positions_of(const Sequences& sequences) {
  std::vector<int32_t> positions(sequences.tokens);
  for (int64_t i = 0; i < sequences.count(); ++i) {
    auto first = positions.begin() + sequences.starts[i];
    std::iota(first, first + sequences.lengths[i], 0);
  }
  return positions;
}

RowPlaces::RowPlaces(const Sequences& sequences, const std::vector<uint32_t>& record_keys) {
  records.reserve(sequences.tokens);
  positions.reserve(sequences.tokens);
  for (int64_t i = 0; i < sequences.count(); ++i) {
    for (int64_t position = 0; position < sequences.lengths[i]; ++position) {
      records.push_back(record_keys[i]);
      positions.push_back(static_cast<uint32_t>(position));
    }
  }
}

RowPlaces RowPlaces::of(const std::vector<int32_t>& rows) const {
  RowPlaces places;
  for (int32_t row : rows) {
    places.records.push_back(records[row]);
    places.positions.push_back(positions[row]);
  }
  return places;
}

WantedRows::WantedRows(const SpanList& all, const std::vector<int32_t>& wanted) {
  auto next = wanted.begin();
  for (AttentionSpan span : all.spans()) {
    const int64_t end = span.query_start + span.query_length;
    const auto first = next;
    while (next != wanted.end() && *next < end) ++next;
    if (first == next) continue;
    const int64_t begin = *first, last = *(next - 1);
    TORCH_INTERNAL_ASSERT(begin >= span.query_start && last < end);
    // Later keys are seen by nobody then.
    (span.key_length > 0 ? span.key_length : span.prefix_length) -= end - 1 - last;
    span.query_start = static_cast<int64_t>(rows.size());
    span.query_length = last + 1 - begin;
    spans.push_back(span);
    for (int64_t row = begin; row <= last; ++row) rows.push_back(static_cast<int32_t>(row));
    for (auto row = first; row != next; ++row) chosen.push_back(static_cast<int32_t>(span.query_start + *row - begin));
  }
  TORCH_INTERNAL_ASSERT(next == wanted.end());
}

Spans attention_spans(const Sequences& queries, const Sequences& keys, const std::vector<int32_t>& keys_of,
                      const std::vector<uint32_t>& records) {
  std::vector<AttentionSpan> spans;
  spans.reserve(queries.lengths.size());
  for (int64_t i = 0; i < queries.count(); ++i) {
    if (queries.lengths[i] == 0) continue;
    int64_t k = keys_of.empty() ? i : keys_of[i];
    spans.push_back(
        {queries.starts[i], queries.lengths[i], keys.starts[k], keys.lengths[k], records.empty() ? 0 : records[i]});
  }
  return std::make_shared<SpanList>(std::move(spans));
}

void check_packed(const std::string& what, const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths,
                  int32_t shortest, int64_t vocabulary, Labels labels) {
  int64_t total = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] < shortest) {
      throw std::invalid_argument(what + ": sequence " + std::to_string(i) + " has length " +
                                  std::to_string(lengths[i]) + ", expected at least " + std::to_string(shortest));
    }
    total += lengths[i];
  }
  if (total != static_cast<int64_t>(ids.size())) {
    throw std::invalid_argument(what + ": the lengths add up to " + std::to_string(total) + ", but there are " +
                                std::to_string(ids.size()) + " tokens");
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    bool ignored = labels == Labels::kYes && ids[i] == kIgnoredLabel;
    if (!ignored && (ids[i] < 0 || ids[i] >= vocabulary)) {
      throw std::invalid_argument(what + ": token " + std::to_string(i) + " is " + std::to_string(ids[i]) +
                                  ", expected 0 to " + std::to_string(vocabulary - 1) +
                                  (labels == Labels::kYes ? " or -100" : ""));
    }
  }
}

std::vector<uint32_t> RowPlaces::both() const {
  std::vector<uint32_t> both = records;
  both.insert(both.end(), positions.begin(), positions.end());
  return both;
}

const at::Tensor& RowPlaces::beside(const at::Tensor& like) const {
  if (!placed_.defined()) placed_ = tensor_beside(like, both(), at::kInt);
  return placed_;
}

void RowPlaces::join(Upload& upload) const {
  // Elsewhere they are laid out when dropout first asks for them.
  if (!reads_host_memory(upload.device())) upload.add(both(), at::kInt, placed_);
}

DeviceSpans SpanList::beside(const at::Tensor& like) const {
  if (reads_host_memory(like.device())) return {spans_, spans_.data()};
  if (!placed_.defined()) {
    placed_ =
        copied_to(like.device(), spans_.data(), static_cast<int64_t>(spans_.size() * sizeof(AttentionSpan)), at::kByte);
  }
  return {spans_, static_cast<const AttentionSpan*>(placed_.const_data_ptr())};
}

void SpanList::join(Upload& upload) const {
  if (!reads_host_memory(upload.device())) upload.add_structs(spans_, placed_);
}

}  // namespace rkif
