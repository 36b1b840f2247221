// Which prompts of a generation are computed together.
#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include "check.h"
#include "models/schedule.h"

using namespace rkif;

namespace {

std::vector<int32_t> prompts_of(const std::vector<GenerationRow>& rows) {
  std::vector<int32_t> prompts;
  for (const GenerationRow& row : rows) prompts.push_back(row.prompt);
  return prompts;
}

}  // namespace

TEST("schedule: stretches are apart from each other, and free ones join") {
  Stretches stretches(10);
  CHECK_EQUAL(*stretches.take(3), 0);
  CHECK_EQUAL(*stretches.take(4), 3);
  CHECK_EQUAL(*stretches.take(3), 7);
  CHECK(!stretches.take(1));
  stretches.give_back(0, 3);
  stretches.give_back(7, 3);
  CHECK_EQUAL(stretches.free(), 6);
  CHECK(!stretches.take(4));
  stretches.give_back(3, 4);
  CHECK_EQUAL(*stretches.take(10), 0);
}

TEST("schedule: without a budget all prompts enter at once, the longest first") {
  Schedule schedule({3, 5, 1, 5}, {});
  CHECK_EQUAL(schedule.room().tokens, 14);
  CHECK_EQUAL(schedule.room().slots, 4);
  std::vector<GenerationRow> rows = schedule.admit();
  CHECK(prompts_of(rows) == (std::vector<int32_t>{1, 3, 0, 2}));
  CHECK(schedule.admit().empty());
  for (const GenerationRow& row : rows) schedule.leave(row);
  CHECK(schedule.admit().empty());
}

TEST("schedule: the next prompts wait for a share of the room, or until all that wait fit") {
  // Room for twenty tokens: ten prompts of 2, of which the last two wait.
  std::vector<int32_t> lengths(12, 2);
  Schedule schedule(lengths, {20, 0});
  std::vector<GenerationRow> rows = schedule.admit();
  CHECK_EQUAL(rows.size(), 10u);
  schedule.leave(rows[4]);
  CHECK(schedule.admit().empty());
  schedule.leave(rows[7]);
  std::vector<GenerationRow> entered = schedule.admit();
  CHECK(prompts_of(entered) == (std::vector<int32_t>{10, 11}));
  CHECK_EQUAL(entered[0].start, rows[4].start);
  CHECK_EQUAL(entered[1].start, rows[7].start);
  CHECK_EQUAL(entered[0].slot, rows[4].slot);
}

TEST("schedule: a prompt beyond the budget goes alone, and rows have a limit of their own") {
  Schedule alone({3, 50, 4}, {10, 0});
  CHECK_EQUAL(alone.room().tokens, 50);
  std::vector<GenerationRow> rows = alone.admit();
  CHECK(prompts_of(rows) == std::vector<int32_t>{1});
  CHECK(alone.admit().empty());
  alone.leave(rows[0]);
  CHECK(prompts_of(alone.admit()) == (std::vector<int32_t>{2, 0}));
  Schedule limited({3, 4, 5, 6}, {0, 3});
  CHECK_EQUAL(limited.room().slots, 3);
  CHECK(prompts_of(limited.admit()) == (std::vector<int32_t>{3, 2, 1}));
}

TEST("schedule: whatever ends when, every prompt enters once, places never overlap and no budget is passed") {
  std::mt19937 random(5);
  for (int trial = 0; trial < 300; ++trial) {
    std::vector<int32_t> lengths(random() % 40);
    for (int32_t& length : lengths) length = 1 + static_cast<int32_t>(random() % 30);
    const GenerationBudget budget{static_cast<int64_t>(random() % 80), static_cast<int64_t>(random() % 6)};
    Schedule schedule(lengths, budget);
    const int64_t longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
    if (budget.tokens > 0) CHECK(schedule.room().tokens <= std::max(budget.tokens, longest));
    if (budget.rows > 0) CHECK(schedule.room().slots <= budget.rows);
    std::vector<GenerationRow> active;
    std::vector<int32_t> entered;
    while (true) {
      for (const GenerationRow& row : schedule.admit()) {
        active.push_back(row);
        entered.push_back(row.prompt);
        CHECK_EQUAL(row.length, int64_t{lengths[row.prompt]});
      }
      if (active.empty()) break;
      std::vector<int> taken(schedule.room().tokens, 0);
      std::set<int64_t> slots;
      for (const GenerationRow& row : active) {
        CHECK(row.slot >= 0 && row.slot < schedule.room().slots && slots.insert(row.slot).second);
        CHECK(row.start >= 0 && row.start + row.length <= schedule.room().tokens);
        for (int64_t i = row.start; i < row.start + row.length; ++i) CHECK_EQUAL(taken[i]++, 0);
      }
      const size_t index = random() % active.size();
      schedule.leave(active[index]);
      active.erase(active.begin() + static_cast<std::ptrdiff_t>(index));
    }
    CHECK_EQUAL(entered.size(), lengths.size());
    CHECK(std::is_sorted(entered.begin(), entered.end(), [&](int32_t a, int32_t b) {
      return lengths[a] > lengths[b] || (lengths[a] == lengths[b] && a < b);
    }));
  }
}
