// A sample of a long vector tells, with overwhelming probability, two values between which the wanted rank lies. One
// pass then counts what is below them, copies the few elements between them and looks for NaN; the rank is found among
// the copies. The counts prove whether the sample was right: where it was not, or where ties put too many elements
// between the two values, radix_select does the work. So the result is exact for every input, and only the time is a
// matter of luck.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>

#include "kernels/clones.h"
#include "kernels/compaction.h"
#include "kernels/dropout.h"
#include "kernels/order_statistics.h"
#include "kernels/radix_select.h"

namespace rkif {
namespace {

constexpr int64_t kSample = int64_t{1} << 15;
// Shorter vectors stay in a cache, where the radix passes cost little.
constexpr int64_t kShortestSampled = 32 * kSample;
// At most this share of the vector is copied.
constexpr int64_t kCopyShare = 8;
// The rank in the sample has a binomial distribution: beyond four standard deviations once in sixteen thousand times.
constexpr double kDeviations = 4;

RKIF_CLONES bool any_nan(int64_t n, const float* values) {
  int32_t found = 0;
  for (int64_t i = 0; i < n; ++i) found |= values[i] != values[i] ? 1 : 0;
  return found != 0;
}

struct BlockCount {
  int64_t below;
  bool has_nan;
};

RKIF_CLONES BlockCount count_below(int64_t n, const float* values, float low) {
  int32_t below = 0;
  int32_t nan = 0;
  for (int64_t i = 0; i < n; ++i) {
    below += values[i] < low ? 1 : 0;
    nan |= values[i] != values[i] ? 1 : 0;
  }
  return {below, nan != 0};
}

// Flags the values from `low` to `high`, both included.
RKIF_CLONES void flag_between(int64_t n, const float* values, float low, float high, uint8_t* __restrict flags) {
  for (int64_t i = 0; i < n; ++i) flags[i] = (values[i] >= low ? 1 : 0) & (values[i] <= high ? 1 : 0);
}

RKIF_CLONES int64_t count_flags(int64_t n, const uint8_t* flags) {
  int32_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += flags[i];
  return count;
}

// Two values and the wanted elements supposed to lie between them.
struct Bracket {
  float low;
  float high;
  std::vector<size_t> slots;
};

// What one thread's part of the vector holds of one bracket.
struct PartBracket {
  float* copies;
  int64_t room;
  int64_t below = 0;
  int64_t inside = 0;
  bool overflow = false;  // there was no room for all that is inside
};

class SampledSelection {
 public:
  SampledSelection(int64_t n, const float* values, const std::vector<int64_t>& ranks, float* results)
      : n_(n), values_(values), ranks_(ranks), results_(results) {}

  // False where the vector holds a NaN.
  bool run() {
    if (!choose_brackets()) return false;
    const int64_t room = n_ / kCopyShare;
    copies_ = std::make_unique_for_overwrite<float[]>(room);
    parts_ = std::min<int64_t>(at::get_num_threads(), n_ / kParallelGrain);
    part_brackets_.resize(parts_ * brackets_.size());
    const int64_t room_each = room / part_brackets_.size();
    // A bracket's parts lie side by side in the memory for copies, so that they can be joined in place.
    for (size_t b = 0; b < brackets_.size(); ++b) {
      for (int64_t part = 0; part < parts_; ++part) {
        float* const copies = copies_.get() + (b * parts_ + part) * room_each;
        part_brackets_[part * brackets_.size() + b] = {
            .copies = copies, .room = room_each, .overflow = room_each < kFlagBlock};
      }
    }
    if (!scan()) return false;
    std::vector<size_t> unresolved;
    for (size_t b = 0; b < brackets_.size(); ++b)
      if (!resolve(b)) unresolved.insert(unresolved.end(), brackets_[b].slots.begin(), brackets_[b].slots.end());
    copies_.reset();
    return unresolved.empty() || select(n_, values_, unresolved, 0);
  }

 private:
  // The elements at `slots`, whose ranks in `values` are lower by `offset`.
  bool select(int64_t n, const float* values, const std::vector<size_t>& slots, int64_t offset) {
    std::vector<int64_t> ranks;
    for (size_t slot : slots) ranks.push_back(ranks_[slot] - offset);
    std::vector<float> found(slots.size());
    if (!radix_select(n, values, ranks, found.data())) return false;
    for (size_t i = 0; i < slots.size(); ++i) results_[slots[i]] = found[i];
    return true;
  }

  // One element of each stretch of the vector, at a place that follows no pattern a matrix could have.
  std::vector<float> sample() const {
    std::vector<float> sample(kSample);
    const int64_t length = n_ / kSample;
    // Every place is a miss of all caches.
    at::parallel_for(0, kSample, kSample / 16, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const auto begin = static_cast<int64_t>(static_cast<double>(n_) * i / kSample);
        sample[i] = values_[begin + static_cast<int64_t>(mix64(i) % length)];
      }
    });
    return sample;
  }

  bool choose_brackets() {
    std::vector<float> sample = this->sample();
    if (any_nan(kSample, sample.data())) return false;
    std::vector<size_t> slots(ranks_.size());
    std::iota(slots.begin(), slots.end(), size_t{0});
    std::sort(slots.begin(), slots.end(), [&](size_t a, size_t b) { return ranks_[a] < ranks_[b]; });
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    int64_t ordered = 0;  // the sample is in order up to here, as far as it has been looked at
    const auto at = [&](int64_t position) {
      if (position < 0) return -kInfinity;
      if (position >= kSample) return kInfinity;
      std::nth_element(sample.begin() + ordered, sample.begin() + position, sample.end());
      ordered = position;
      return sample[position];
    };
    int64_t last_position = -1;
    for (size_t slot : slots) {
      const double share = (ranks_[slot] + 0.5) / static_cast<double>(n_);
      const double margin = kDeviations * std::sqrt(kSample * share * (1 - share)) + 2 * kDeviations;
      const auto from = static_cast<int64_t>(std::floor(kSample * share - margin));
      const auto to = static_cast<int64_t>(std::ceil(kSample * share + margin));
      if (brackets_.empty() || from > last_position) {
        const float low = at(from);
        brackets_.push_back({low, at(to), {}});
      } else if (to > last_position) {
        brackets_.back().high = at(to);
      }
      brackets_.back().slots.push_back(slot);
      last_position = std::max(last_position, to);
    }
    return true;
  }

  bool scan() {
    std::vector<uint8_t> nan(parts_);
    at::parallel_for(0, parts_, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part) {
        const int64_t begin = n_ / parts_ * part;
        const int64_t end = part + 1 == parts_ ? n_ : n_ / parts_ * (part + 1);
        nan[part] = !scan_part(begin, end, &part_brackets_[part * brackets_.size()]);
      }
    });
    return std::find(nan.begin(), nan.end(), 1) == nan.end();
  }

  bool scan_part(int64_t begin, int64_t end, PartBracket* results) const {
    // Locals: the threads' results share cache lines.
    std::vector<PartBracket> found(results, results + brackets_.size());
    Flags flags;
    for (int64_t at = begin; at < end; at += kFlagBlock) {
      const int64_t n = std::min(kFlagBlock, end - at);
      const float* const block = values_ + at;
      flags.pad(n);
      for (size_t b = 0; b < brackets_.size(); ++b) {
        const auto& [low, high, slots] = brackets_[b];
        PartBracket& part = found[b];
        if (part.overflow) continue;
        const BlockCount count = count_below(n, block, low);
        if (count.has_nan) return false;
        part.below += count.below;
        flag_between(n, block, low, high, flags.byte);
        if (low == high) {
          part.inside += count_flags(n, flags.byte);
        } else {
          float* const out = part.copies + part.inside;
          part.inside += copy_flagged(n, block, flags, out) - out;
          part.overflow = part.inside + kFlagBlock > part.room;
        }
      }
    }
    std::copy(found.begin(), found.end(), results);
    return true;
  }

  // False where the bracket does not hold its elements, or not all copies of them.
  bool resolve(size_t index) {
    const Bracket& bracket = brackets_[index];
    const bool equal = bracket.low == bracket.high;
    float* const copies = part_brackets_[index].copies;
    int64_t below = 0;
    int64_t inside = 0;
    for (int64_t p = 0; p < parts_; ++p) {
      const PartBracket& part = part_brackets_[p * brackets_.size() + index];
      if (part.overflow) return false;
      if (!equal) std::memmove(copies + inside, part.copies, part.inside * sizeof(float));
      below += part.below;
      inside += part.inside;
    }
    for (size_t slot : bracket.slots)
      if (ranks_[slot] < below || ranks_[slot] >= below + inside) return false;
    if (!equal) return select(inside, copies, bracket.slots, below);
    for (size_t slot : bracket.slots) results_[slot] = bracket.low;
    return true;
  }

  const int64_t n_;
  const float* const values_;
  const std::vector<int64_t>& ranks_;
  float* const results_;
  std::vector<Bracket> brackets_;
  std::unique_ptr<float[]> copies_;
  int64_t parts_ = 0;
  std::vector<PartBracket> part_brackets_;  // [part][bracket]
};

}  // namespace

bool contains_nan(int64_t n, const float* values) {
  return at::parallel_reduce(
      0, n, kParallelGrain, false,
      [&](int64_t begin, int64_t end, bool) { return any_nan(end - begin, values + begin); },
      [](bool a, bool b) { return a || b; });
}

OrderStatistics order_statistics(int64_t n, const float* values, const std::vector<int64_t>& ranks) {
  for (int64_t rank : ranks) {
    if (rank < 0 || rank >= n) {
      throw std::invalid_argument("order_statistics: rank " + std::to_string(rank) + " of a vector of " +
                                  std::to_string(n) + " elements; ranks are 0 to n - 1");
    }
  }
  OrderStatistics result;
  if (ranks.empty()) return result;
  result.values.resize(ranks.size());
  result.has_nan = !(n < kShortestSampled ? radix_select(n, values, ranks, result.values.data())
                                          : SampledSelection(n, values, ranks, result.values.data()).run());
  if (result.has_nan) result.values.clear();
  return result;
}

}  // namespace rkif
