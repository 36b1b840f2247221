// Which prompts of a generation are computed together: the longest first, as many as the budget has room for; where
// answers have ended, the next prompts enter. Knows nothing of tensors.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <vector>

namespace rkif {

// What the prompts of one time may take; 0: no limit.
struct GenerationBudget {
  int64_t tokens = 0;  // of prompts; a longer prompt goes alone
  int64_t rows = 0;    // prompts
};

// Places that are enough for a whole generation.
struct GenerationRoom {
  int64_t tokens = 0;  // of prompts
  int64_t slots = 0;   // answers
};

// A prompt whose answer grows.
struct GenerationRow {
  int32_t prompt;     // its index
  int64_t slot;       // the answer's place, below GenerationRoom::slots
  int64_t start;      // the prompt's place: as many tokens as it has from here, below GenerationRoom::tokens
  int64_t length;     // tokens of the prompt
  int64_t step = 0;   // new tokens so far
  int32_t token = 0;  // the last of them
};

// Numbers 0 to size - 1, given out in stretches that lie together.
class Stretches {
 public:
  explicit Stretches(int64_t size);

  // The first number of the first free stretch that is long enough; none: there is none.
  std::optional<int64_t> take(int64_t length);
  void give_back(int64_t start, int64_t length);
  int64_t free() const { return free_; }

 private:
  std::map<int64_t, int64_t> lengths_;  // of the free stretches, by start; no two of them touch
  int64_t free_;
};

class Schedule {
 public:
  Schedule(const std::vector<int32_t>& prompt_lengths, const GenerationBudget& budget);

  const GenerationRoom& room() const { return room_; }
  // The prompts that enter now, in step 0. None while answers grow and little is free: few prompts at a time make slow
  // products.
  std::vector<GenerationRow> admit();
  // Its answer has ended.
  void leave(const GenerationRow& row);

 private:
  bool worth_admitting() const;

  const std::vector<int32_t> lengths_;
  std::vector<int32_t> order_;  // prompts by falling length
  size_t entered_ = 0;          // of order_
  int64_t waiting_tokens_ = 0;
  const GenerationRoom room_;
  Stretches tokens_;
  std::priority_queue<int64_t, std::vector<int64_t>, std::greater<>> slots_;  // free ones, the lowest first
};

}  // namespace rkif
