#include "models_generation_checks.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <set>

#include "check.h"
#include "models/generation.h"
#include "models/schedule.h"

namespace rkif::test {
namespace {

constexpr int64_t kTokens = 21;  // the room for answers grows on the way
using Rows = std::vector<std::vector<int32_t>>;

// Of very different lengths, which begin with the same `shared` tokens.
Rows random_prompts(int32_t vocabulary, int32_t shared) {
  std::mt19937 random(3);
  const auto draw = [&] { return static_cast<int32_t>(random() % static_cast<uint32_t>(vocabulary)); };
  std::vector<int32_t> beginning(shared);
  std::generate(beginning.begin(), beginning.end(), draw);
  Rows prompts;
  for (int32_t length : {1, 30, 2, 2, 17, 5, 9, 1, 23, 3, 12, 7, 40, 4}) {
    std::vector<int32_t> prompt = beginning;
    for (int32_t i = 0; i < length; ++i) prompt.push_back(draw());
    prompts.push_back(prompt);
  }
  return prompts;
}

GenerateOptions options_of(const Rows& prompts, const std::vector<int32_t>& ends) {
  GenerateOptions options;
  for (const std::vector<int32_t>& prompt : prompts) {
    options.input_ids.insert(options.input_ids.end(), prompt.begin(), prompt.end());
    options.input_lengths.push_back(static_cast<int32_t>(prompt.size()));
  }
  options.max_new_tokens = kTokens;
  options.end_token_ids = ends;
  return options;
}

// Each prompt in a call of its own.
Rows one_by_one(Model& model, const Rows& prompts, const GenerateOptions& all) {
  Rows rows;
  for (size_t i = 0; i < prompts.size(); ++i) {
    GenerateOptions options = options_of({prompts[i]}, all.end_token_ids);
    options.min_new_tokens = all.min_new_tokens;
    options.sampling = all.sampling;
    if (options.sampling) options.sampling->keys = {static_cast<uint32_t>(i)};
    rows.push_back(model.generate(options)[0]);
  }
  return rows;
}

size_t different_lengths(const Rows& rows) {
  std::set<size_t> lengths;
  for (const std::vector<int32_t>& row : rows) lengths.insert(row.size());
  return lengths.size();
}

// The two tokens that end answers which run on in the most different steps.
std::vector<int32_t> best_ends(const Rows& free, int32_t vocabulary) {
  std::vector<int32_t> best;
  size_t most = 0;
  for (int32_t a = 0; a < vocabulary; ++a) {
    for (int32_t b = a + 1; b < vocabulary; ++b) {
      Rows ended;
      for (const std::vector<int32_t>& row : free) {
        auto end = std::find_if(row.begin(), row.end(), [&](int32_t token) { return token == a || token == b; });
        ended.emplace_back(row.begin(), end);
      }
      if (different_lengths(ended) <= most) continue;
      most = different_lengths(ended);
      best = {a, b};
    }
  }
  return best;
}

// Under these budgets, as alone; `told` and `ended` too.
void check_equal(Model& model, GenerateOptions options, const Rows& alone) {
  for (GenerationBudget budget : {GenerationBudget{0, 0}, {1, 0}, {45, 0}, {64, 3}, {0, 1}, {0, 4}, {100, 5}}) {
    options.batch_tokens = budget.tokens;
    options.batch_rows = budget.rows;
    Rows told(alone.size());
    std::multiset<int32_t> ended;
    size_t most = 0;
    options.on_tokens = [&](const std::vector<int32_t>& prompts, const std::vector<int32_t>& tokens) {
      most = std::max(most, prompts.size());
      for (size_t i = 0; i < prompts.size(); ++i) told[prompts[i]].push_back(tokens[i]);
    };
    options.on_ended = [&](const std::vector<int32_t>& prompts) {
      for (int32_t prompt : prompts) CHECK(told[prompt] == alone[prompt]);
      ended.insert(prompts.begin(), prompts.end());
    };
    CHECK(model.generate(options) == alone);
    CHECK(told == alone);
    CHECK_EQUAL(ended.size(), alone.size());
    CHECK_EQUAL(std::set<int32_t>(ended.begin(), ended.end()).size(), alone.size());
    if (budget.rows > 0) CHECK(most <= static_cast<size_t>(budget.rows));
    if (budget.rows == 0 && budget.tokens == 0) CHECK_EQUAL(most, alone.size());
  }
}

// Prompts that begin with so many tokens alike.
void check_prompts(Model& model, int32_t vocabulary, int32_t shared) {
  const Rows prompts = random_prompts(vocabulary, shared);
  const Rows free = one_by_one(model, prompts, options_of(prompts, {}));
  GenerateOptions options = options_of(prompts, best_ends(free, vocabulary));
  // One prompt has a single token more, and every one keeps two.
  CHECK_EQUAL(shared_tokens(options.input_ids, options.input_lengths), shared == 0 ? 0 : shared - 1);
  Rows alone = one_by_one(model, prompts, options);
  CHECK(different_lengths(alone) >= 3);
  check_equal(model, options, alone);
  options.min_new_tokens = 5;
  check_equal(model, options, one_by_one(model, prompts, options));
  // Draws that end in several steps.
  Rows drawn;
  for (uint64_t seed = 8; different_lengths(drawn) < 3; ++seed) {
    CHECK(seed < 40);
    options.sampling = Sampling{1.5, 0.95, seed, {}};
    drawn = one_by_one(model, prompts, options);
  }
  check_equal(model, options, drawn);

  options.batch_tokens = 50;
  options.abort = std::make_shared<std::atomic<bool>>(false);
  size_t ended = 0;
  options.on_ended = [&](const std::vector<int32_t>& rows) {
    ended += rows.size();
    if (ended >= 4) options.abort->store(true);
  };
  CHECK_THROWS(model.generate(options), Aborted, "stopped");
  CHECK(ended < prompts.size());
}

}  // namespace

void check_budgets(Model& model, int32_t vocabulary) {
  check_prompts(model, vocabulary, 0);
  check_prompts(model, vocabulary, 15);
}

}  // namespace rkif::test
