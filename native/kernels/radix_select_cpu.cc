// Radix selection on the bits of fp32. The bits of positive numbers rise with the number, those of negative ones fall,
// so that buckets of equal leading bits are ranges of numbers. A histogram of the leading 12 bits tells which buckets
// hold the wanted ranks; only their elements are looked at again, by the next 10 bits, and then by the last 10. Buckets
// with few elements are copied out first; one that holds much of the vector (ties, narrow ranges) is read in place, so
// that no more than an eighth of the vector is ever copied.
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <vector>

#include "kernels/clones.h"
#include "kernels/compaction.h"
#include "kernels/order_statistics.h"
#include "kernels/radix_select.h"

namespace rkif {
namespace {

struct Digit {
  int shift;
  int bits;
  uint32_t bins() const { return 1u << bits; }
};
constexpr std::array<Digit, 3> kDigits{{{20, 12}, {10, 10}, {0, 10}}};

constexpr int64_t kCopyShare = 8;
// Histograms count in 32 bits.
constexpr int64_t kLongestPart = int64_t{1} << 31;

RKIF_INLINE uint32_t bits_of(float value) { return std::bit_cast<uint32_t>(value); }

// flags[i] = whether the leading bits of values[i] are `prefix`.
RKIF_CLONES void flag_prefix(int64_t n, const float* values, int shift, uint32_t prefix, uint8_t* __restrict flags) {
  for (int64_t i = 0; i < n; ++i) flags[i] = bits_of(values[i]) >> shift == prefix ? 1 : 0;
}

// A part of the vector that one thread counts. Four tables in turn: equal neighbours (ties, zeros) would otherwise wait
// for each other's store.
class PartHistogram {
 public:
  // Counts the elements by their digit; with `filtered` only those with the leading bits `prefix`.
  void count(int64_t n, const float* values, Digit digit, bool filtered, uint32_t prefix) {
    // The last bin of each table takes what the filter refuses.
    const uint32_t stride = digit.bins() + 1;
    tables_.assign(4 * stride, 0);
    uint32_t* const tables[4] = {&tables_[0], &tables_[stride], &tables_[2 * stride], &tables_[3 * stride]};
    const int shift = digit.shift;
    const uint32_t mask = digit.bins() - 1;
    const int prefix_shift = digit.shift + digit.bits;
    const auto bin = [=](float value) { return bits_of(value) >> shift & mask; };
    const auto filtered_bin = [=](float value) {
      const uint32_t bits = bits_of(value);
      return bits >> prefix_shift == prefix ? bits >> shift & mask : mask + 1;
    };
    const auto run = [&](auto bin_of) {
      int64_t i = 0;
      for (; i + 4 <= n; i += 4) {
        ++tables[0][bin_of(values[i])];
        ++tables[1][bin_of(values[i + 1])];
        ++tables[2][bin_of(values[i + 2])];
        ++tables[3][bin_of(values[i + 3])];
      }
      for (; i < n; ++i) ++tables[0][bin_of(values[i])];
    };
    filtered ? run(filtered_bin) : run(bin);
    for (uint32_t b = 0; b < digit.bins(); ++b) tables[0][b] += tables[1][b] + tables[2][b] + tables[3][b];
  }
  uint32_t operator[](uint32_t bin) const { return tables_[bin]; }

 private:
  std::vector<uint32_t> tables_;
};

// A range of the vector's values, and the elements in it: either exactly `values`, or those of `values` that have the
// prefix.
struct Bucket {
  const float* values = nullptr;
  int64_t n = 0;
  bool filtered = false;
  uint32_t prefix = 0;
  std::unique_ptr<float[]> copy;
};

struct Wanted {
  int64_t rank;  // among the bucket's elements
  size_t slot;   // in the result
};

struct Child {
  uint32_t bin;
  int64_t count;
  std::vector<Wanted> wanted;
  Bucket bucket;
};

class Selector {
 public:
  explicit Selector(float* results) : results_(results) {}

  // False where the vector holds a NaN.
  bool select(int64_t n, const float* values, const std::vector<int64_t>& ranks) {
    std::vector<Wanted> wanted;
    for (size_t slot = 0; slot < ranks.size(); ++slot) wanted.push_back({ranks[slot], slot});
    std::sort(wanted.begin(), wanted.end(), [](const Wanted& a, const Wanted& b) { return a.rank < b.rank; });
    budget_ = n / kCopyShare;
    Bucket whole;
    whole.values = values;
    whole.n = n;
    return descend(whole, 0, wanted);
  }

 private:
  bool descend(const Bucket& bucket, size_t level, const std::vector<Wanted>& wanted) {
    const Digit digit = kDigits[level];
    const std::vector<PartHistogram> parts = histogram(bucket, digit);
    std::vector<int64_t> counts(digit.bins());
    for (const PartHistogram& part : parts)
      for (uint32_t bin = 0; bin < digit.bins(); ++bin) counts[bin] += part[bin];
    if (level == 0 && holds_nan(bucket, counts)) return false;
    std::vector<Child> children = locate(counts, bucket.prefix, level, wanted);
    if (level + 1 == kDigits.size()) {
      for (const Child& child : children)
        for (const Wanted& want : child.wanted) results_[want.slot] = std::bit_cast<float>(child.bucket.prefix);
      return true;
    }
    copy_small(bucket, digit, parts, children);
    for (Child& child : children) {
      descend(child.bucket, level + 1, child.wanted);
      child.bucket.copy.reset();
    }
    return true;
  }

  static int64_t part_count(int64_t n) {
    const int64_t threads = std::min<int64_t>(at::get_num_threads(), (n + kParallelGrain - 1) / kParallelGrain);
    return std::max<int64_t>(threads, (n + kLongestPart - 1) / kLongestPart);
  }
  static int64_t part_begin(int64_t n, int64_t parts, int64_t part) {
    return part * (n / parts) + std::min(part, n % parts);
  }

  static std::vector<PartHistogram> histogram(const Bucket& bucket, Digit digit) {
    std::vector<PartHistogram> parts(part_count(bucket.n));
    const int64_t count = parts.size();
    at::parallel_for(0, count, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part) {
        const int64_t begin = part_begin(bucket.n, count, part);
        const int64_t end = part_begin(bucket.n, count, part + 1);
        parts[part].count(end - begin, bucket.values + begin, digit, bucket.filtered, bucket.prefix);
      }
    });
    return parts;
  }

  // Buckets that hold NaN only, or NaN and infinity: in the second case the vector is read once more.
  static bool holds_nan(const Bucket& bucket, const std::vector<int64_t>& counts) {
    bool has_infinity_or_nan = false;
    for (uint32_t sign : {0u, 0x800u}) {
      for (uint32_t bin = 0x7f9; bin < 0x800; ++bin)
        if (counts[sign + bin] > 0) return true;
      has_infinity_or_nan |= counts[sign + 0x7f8] > 0;
    }
    return has_infinity_or_nan && contains_nan(bucket.n, bucket.values);
  }

  // The bins that hold the wanted ranks, walked from the smallest number to the largest.
  static std::vector<Child> locate(const std::vector<int64_t>& counts, uint32_t prefix, size_t level,
                                   const std::vector<Wanted>& wanted) {
    const Digit digit = kDigits[level];
    const uint32_t bins = digit.bins();
    const uint32_t sign_bit = bins / 2;
    const bool negative = level > 0 && prefix >> (31 - digit.shift - digit.bits) != 0;
    std::vector<Child> children;
    auto want = wanted.begin();
    int64_t below = 0;
    for (uint32_t i = 0; i < bins && want != wanted.end(); ++i) {
      uint32_t bin = negative ? bins - 1 - i : i;
      if (level == 0) bin = i < sign_bit ? bins - 1 - i : i - sign_bit;
      if (want->rank < below + counts[bin]) {
        Child& child = children.emplace_back(Child{.bin = bin, .count = counts[bin], .wanted = {}, .bucket = {}});
        child.bucket.prefix = prefix << digit.bits | bin;
        for (; want != wanted.end() && want->rank < below + counts[bin]; ++want)
          child.wanted.push_back({want->rank - below, want->slot});
      }
      below += counts[bin];
    }
    return children;
  }

  // Gives each child the elements to look at: a copy of its own where the budget allows, else the parent's with a
  // filter.
  void copy_small(const Bucket& bucket, Digit digit, const std::vector<PartHistogram>& parts,
                  std::vector<Child>& children) {
    std::vector<Child*> copied;
    for (Child& child : children) {
      if (child.count <= budget_) {
        budget_ -= child.count;
        child.bucket.copy = std::make_unique_for_overwrite<float[]>(child.count);
        child.bucket.values = child.bucket.copy.get();
        child.bucket.n = child.count;
        copied.push_back(&child);
      } else {
        child.bucket.values = bucket.values;
        child.bucket.n = bucket.n;
        child.bucket.filtered = true;
      }
    }
    if (copied.empty()) return;
    const int64_t count = parts.size();
    at::parallel_for(0, count, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part) copy_part(bucket, digit, parts, part, copied);
    });
  }

  static void copy_part(const Bucket& bucket, Digit digit, const std::vector<PartHistogram>& parts, int64_t part,
                        const std::vector<Child*>& children) {
    std::vector<float*> out;
    for (const Child* child : children) {
      int64_t before = 0;
      for (int64_t earlier = 0; earlier < part; ++earlier) before += parts[earlier][child->bin];
      out.push_back(child->bucket.copy.get() + before);
    }
    const int64_t count = parts.size();
    const int64_t end = part_begin(bucket.n, count, part + 1);
    Flags flags;
    for (int64_t at = part_begin(bucket.n, count, part); at < end; at += kFlagBlock) {
      const int64_t n = std::min(kFlagBlock, end - at);
      flags.pad(n);
      for (size_t c = 0; c < children.size(); ++c) {
        flag_prefix(n, bucket.values + at, digit.shift, children[c]->bucket.prefix, flags.byte);
        out[c] = copy_flagged(n, bucket.values + at, flags, out[c]);
      }
    }
  }

  float* const results_;
  int64_t budget_ = 0;  // elements that may still be copied
};

}  // namespace

bool radix_select(int64_t n, const float* values, const std::vector<int64_t>& ranks, float* results) {
  return Selector(results).select(n, values, ranks);
}

}  // namespace rkif
