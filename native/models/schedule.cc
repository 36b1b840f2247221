#include "models/schedule.h"

#include <algorithm>
#include <numeric>

namespace rkif {
namespace {

// Prompts wait until this part of the room is free.
constexpr int64_t kShare = 4;

GenerationRoom room_for(std::vector<int32_t> lengths, const GenerationBudget& budget) {
  std::sort(lengths.begin(), lengths.end());
  const int64_t all = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  GenerationRoom room;
  room.tokens = budget.tokens == 0 || lengths.empty()
                    ? all
                    : std::min<int64_t>(all, std::max<int64_t>(budget.tokens, lengths.back()));
  // No other prompts of that many tokens are more than the shortest.
  int64_t taken = 0;
  for (int32_t length : lengths) {
    taken += length;
    if (taken > room.tokens) break;
    ++room.slots;
  }
  if (budget.rows != 0) room.slots = std::min(room.slots, budget.rows);
  return room;
}

}  // namespace

Stretches::Stretches(int64_t size) : free_(size) {
  if (size > 0) lengths_[0] = size;
}

std::optional<int64_t> Stretches::take(int64_t length) {
  auto found = std::find_if(lengths_.begin(), lengths_.end(), [&](const auto& s) { return s.second >= length; });
  if (found == lengths_.end()) return std::nullopt;
  auto [start, size] = *found;
  lengths_.erase(found);
  if (size > length) lengths_[start + length] = size - length;
  free_ -= length;
  return start;
}

void Stretches::give_back(int64_t start, int64_t length) {
  free_ += length;
  auto after = lengths_.lower_bound(start);
  if (after != lengths_.end() && after->first == start + length) {
    length += after->second;
    after = lengths_.erase(after);
  }
  if (after != lengths_.begin()) {
    auto before = std::prev(after);
    if (before->first + before->second == start) {
      before->second += length;
      return;
    }
  }
  lengths_[start] = length;
}

Schedule::Schedule(const std::vector<int32_t>& prompt_lengths, const GenerationBudget& budget)
    : lengths_(prompt_lengths),
      order_(prompt_lengths.size()),
      waiting_tokens_(std::accumulate(prompt_lengths.begin(), prompt_lengths.end(), int64_t{0})),
      room_(room_for(prompt_lengths, budget)),
      tokens_(room_.tokens) {
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) { return lengths_[a] > lengths_[b]; });
  for (int64_t slot = 0; slot < room_.slots; ++slot) slots_.push(slot);
}

bool Schedule::worth_admitting() const {
  const int64_t free_slots = static_cast<int64_t>(slots_.size());
  if (free_slots == room_.slots) return true;
  const int64_t waiting = static_cast<int64_t>(order_.size() - entered_);
  return tokens_.free() >= std::min(room_.tokens / kShare, waiting_tokens_) &&
         free_slots >= std::min(room_.slots / kShare, waiting);
}

std::vector<GenerationRow> Schedule::admit() {
  std::vector<GenerationRow> rows;
  if (entered_ == order_.size() || !worth_admitting()) return rows;
  for (; entered_ < order_.size() && !slots_.empty(); ++entered_) {
    const int32_t prompt = order_[entered_], length = lengths_[prompt];
    std::optional<int64_t> start = tokens_.take(length);
    // Those behind it are no longer: one that fits would only take the room that this one waits for.
    if (!start) break;
    rows.push_back({prompt, slots_.top(), *start, length});
    slots_.pop();
    waiting_tokens_ -= length;
  }
  return rows;
}

void Schedule::leave(const GenerationRow& row) {
  tokens_.give_back(row.start, row.length);
  slots_.push(row.slot);
}

}  // namespace rkif
