// The method's kernels on a GPU: the bytes that each has to move a second, as a share of what a copy within the card's
// memory moves, measured right before it.
//   rkif_cuda_kernels_benchmark [ELEMENTS ...] [--rounds R] [--no-exactness] [--json FILE]
// A kernel's share is the median over the rounds. Vectors below 10^8 elements may live in the card's cache, and a share
// above 1 says so. Before that, quantiles and masks are compared with a sort on the host, and those of the longest
// vector by counting; the exit status is 1 where any differs.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>

#include "arguments.h"
#include "cuda_device.h"
#include "cuda_exactness.h"
#include "cuda_vectors.h"

using namespace rkif;
using namespace rkif::benchmark;

namespace {

// Long enough for the card's bandwidth; a copy reads and writes it.
constexpr int64_t kCopyBytes = int64_t{1} << 30;
// Of all vectors below.
constexpr int64_t kBytesPerElement = 10 * 4 + 2;
// Shares that are aimed at, from 10^8 elements on: see docs/cuda.md.
constexpr double kElementwise = 0.8, kQuantile = 0.5;
// Elements of T5-large's adapter matrices at rank 8.
constexpr int64_t kPart = 8192;

struct Options {
  std::vector<int64_t> lengths;
  int rounds = 7;
  bool exactness = true;
  std::string json;
};

std::vector<int64_t> parts_of(int64_t n) {
  std::vector<int64_t> parts(static_cast<size_t>(n / kPart), kPart);
  if (n % kPart > 0) parts.push_back(n % kPart);
  return parts;
}

// What the method keeps for one adapter, in the shapes of its numbers.
struct Vectors {
  explicit Vectors(int64_t n_) : n(n_) {
    uint64_t seed = 0;
    for (auto* vector : {&start, &tau_in, &tau_out, &parameters, &m}) {
      fill(n, Values::kNormal, 1e-3f, ++seed, vector->data());
    }
    for (auto* vector : {&score_in, &score_out, &v, &importance, &uncertainty}) {
      fill(n, Values::kScores, 1e-6f, ++seed, vector->data());
    }
  }

  int64_t n;
  Buffer<float> start{n}, tau_in{n}, tau_out{n}, parameters{n}, m{n};
  Buffer<float> score_in{n}, score_out{n}, v{n}, importance{n}, uncertainty{n};
  Buffer<uint8_t> mask_in{n}, mask_out{n};
  Buffer<float> thresholds{2};
  std::vector<int64_t> parts = parts_of(n);
  Buffer<float> part_thresholds{static_cast<int64_t>(parts.size())};
  Buffer<double> quantiles{6};
  Buffer<int64_t> counts{4};
  Buffer<int32_t> fused{1};
  Buffer<StepReport> report{std::vector<StepReport>(1)};
};

struct Kernel {
  std::string name;
  // That it has to read and write of an element.
  int64_t bytes;
  std::optional<double> aim;
  std::function<void()> run;
};

std::vector<Kernel> kernels_of(const Kernels& k, Vectors& x) {
  const int64_t n = x.n;
  const ImportanceDecay decay{0.55, 0.55};
  const FusionTable table{{{0, 0}, {1, 0}, {0, 1}, {1, 1}}};
  const AdamW adamw{
      .learning_rate = 3e-4, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0, .update = 10};
  const auto select = [&k, &x, n](const Buffer<float>& score, const Buffer<uint8_t>& mask, int64_t which) {
    k.mask_by_quantile({n}, score.data(), 0.8, Compare::kGreaterEqual, mask.data(), x.thresholds.data() + which);
  };
  const auto fuse = [&k, &x, n, table] {
    k.fuse(n, x.start.data(), x.tau_in.data(), x.tau_out.data(), {x.mask_in.data(), x.thresholds.data(), 1},
           {x.mask_out.data(), x.thresholds.data() + 1, 1}, table, x.parameters.data(), x.counts.data());
  };
  const auto norm = [&k, &x, n] { k.norm(n, x.tau_in.data(), &x.report.data()->gradient); };
  const auto step = [&k, &x, n, adamw](const ImportanceUpdate* update) {
    k.adamw_step(n, x.parameters.data(), x.tau_in.data(), x.m.data(), x.v.data(), 1, adamw, update, nullptr,
                 x.report.data());
  };
  const auto measured_step = [&x, decay, step] {
    const ImportanceUpdate update{
        .importance = x.importance.data(), .uncertainty = x.uncertainty.data(), .decay = decay};
    step(&update);
  };
  const auto difference = [&k, &x, n] { k.difference(n, x.start.data(), x.tau_in.data(), x.parameters.data()); };
  // Masks and thresholds come first: fusions read them.
  return {
      {"two quantiles, two masks, fusion", 2 * (4 + 5) + 18, std::nullopt,
       [&x, select, fuse] {
         select(x.score_in, x.mask_in, 0);
         select(x.score_out, x.mask_out, 1);
         fuse();
       }},
      {"quantile", 4, kQuantile, [&k, &x, n] { k.quantiles(n, x.score_in.data(), {0.8}, x.quantiles.data()); }},
      {"six quantiles", 4, std::nullopt,
       [&k, &x, n] { k.quantiles(n, x.score_in.data(), {0, 0.2, 0.5, 0.8, 0.95, 1}, x.quantiles.data()); }},
      {"quantile and mask", 4 + 5, std::nullopt, [&x, select] { select(x.score_in, x.mask_in, 0); }},
      {"mask of top k", 4 + 5, std::nullopt,
       [&k, &x, n] { k.mask_top_k({{n, n / 5}}, x.score_in.data(), x.mask_out.data(), x.thresholds.data() + 1); }},
      {"quantiles and mask of parts", 4 + 5, std::nullopt,
       [&k, &x] {
         k.mask_by_quantile(x.parts, x.score_in.data(), 0.8, Compare::kGreaterEqual, x.mask_out.data(),
                            x.part_thresholds.data());
       }},
      {"fuse", 18, kElementwise, fuse},
      {"fuse, adaptive", 32, std::nullopt,
       [&k, &x, n] {
         k.fuse_adaptive(n, x.start.data(), x.tau_in.data(), x.tau_out.data(), x.score_in.data(), x.score_out.data(), 1,
                         x.parameters.data(), nullptr, nullptr, x.fused.data());
       }},
      {"importance", 24, kElementwise,
       [&k, &x, n, decay] {
         k.update_importance(n, x.start.data(), x.tau_in.data(), nullptr, decay, x.importance.data(),
                             x.uncertainty.data());
       }},
      {"norm", 4, kElementwise, norm},
      {"adamw", 28, kElementwise, [step] { step(nullptr); }},
      {"adamw with importance", 44, kElementwise, measured_step},
      {"norm, adamw with importance", 48, kElementwise, [norm, measured_step] { norm(), measured_step(); }},
      {"difference", 12, kElementwise, difference},
      {"product", 12, kElementwise,
       [&k, &x, n] { k.product(n, x.score_in.data(), x.score_out.data(), x.parameters.data()); }},
      {"add scaled", 12, kElementwise, [&k, &x, n] { k.add_scaled(n, x.parameters.data(), x.tau_in.data(), 0.5f); }},
      {"scale", 8, kElementwise, [&k, &x, n] { k.scale(n, x.parameters.data(), 0.5f); }},
  };
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

struct Timing {
  std::string name;
  double milliseconds;
  double gigabytes_per_second;
  double share;
  std::optional<double> aim;
};

struct Report {
  int64_t elements;
  double copy_gigabytes_per_second;
  std::vector<Timing> timings;
};

Report measure(const Device& device, int64_t n, int rounds) {
  Vectors vectors(n);
  const Buffer<uint8_t> from(kCopyBytes), to(kCopyBytes);
  check(cudaMemset(from.data(), 1, kCopyBytes), "cudaMemset");
  const auto copy = [&] {
    check(cudaMemcpyAsync(to.data(), from.data(), kCopyBytes, cudaMemcpyDeviceToDevice, nullptr), "cudaMemcpyAsync");
  };
  const std::vector<Kernel> all = kernels_of(*device.kernels, vectors);
  std::vector<std::vector<double>> times(all.size()), shares(all.size());
  std::vector<double> copies;
  const auto speed = [](int64_t bytes, double ms) { return static_cast<double>(bytes) / ms * 1e-6; };
  // The first round warms up and does not count.
  for (int round = 0; round <= rounds; ++round) {
    for (size_t k = 0; k < all.size(); ++k) {
      const double card = speed(2 * kCopyBytes, milliseconds(copy));
      const double time = milliseconds(all[k].run);
      if (round == 0) continue;
      copies.push_back(card);
      times[k].push_back(time);
      shares[k].push_back(speed(n * all[k].bytes, time) / card);
    }
  }
  Report report{n, median(copies), {}};
  for (size_t k = 0; k < all.size(); ++k) {
    const double time = median(times[k]);
    report.timings.push_back({all[k].name, time, speed(n * all[k].bytes, time), median(shares[k]), all[k].aim});
  }
  return report;
}

void print(const Report& report) {
  std::printf("%lld elements; a copy within the card's memory moves %.0f GB/s\n",
              static_cast<long long>(report.elements), report.copy_gigabytes_per_second);
  const bool judged = report.elements >= 100'000'000;
  for (const Timing& timing : report.timings) {
    std::printf("  %-34s %10.4f ms %8.0f GB/s %6.1f %% of the copy", timing.name.c_str(), timing.milliseconds,
                timing.gigabytes_per_second, 100 * timing.share);
    if (judged && timing.aim) {
      std::printf("  (aim: %.0f %%%s)", 100 * *timing.aim, timing.share < *timing.aim ? ", missed" : "");
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

std::string json_of(const Device& device, const std::vector<Report>& reports, const Exactness& exactness) {
  std::ostringstream out;
  out << "{\"device\":\"" << device.name << "\",\"multiprocessors\":" << device.multiprocessors
      << ",\"memory\":" << device.memory << ",\"exactness\":{\"checked\":" << exactness.checked
      << ",\"wrong\":" << exactness.wrong.size() << "},\"lengths\":[";
  for (const Report& report : reports) {
    out << (&report == reports.data() ? "" : ",") << "{\"elements\":" << report.elements
        << ",\"copyGBs\":" << report.copy_gigabytes_per_second << ",\"kernels\":[";
    for (const Timing& timing : report.timings) {
      out << (&timing == report.timings.data() ? "" : ",") << "{\"name\":\"" << timing.name
          << "\",\"ms\":" << timing.milliseconds << ",\"GBs\":" << timing.gigabytes_per_second
          << ",\"share\":" << timing.share << "}";
    }
    out << "]}";
  }
  out << "]}\n";
  return out.str();
}

Options parse(char** argument) {
  Options options;
  for (++argument; *argument; ++argument) {
    const std::string name = *argument;
    if (name == "--no-exactness") {
      options.exactness = false;
    } else if (name == "--rounds") {
      options.rounds = static_cast<int>(positive(name, *++argument));
    } else if (name == "--json") {
      options.json = argument[1] ? *++argument : "";
      if (options.json.empty()) std::fprintf(stderr, "--json: expected a file\n"), std::exit(2);
    } else {
      options.lengths.push_back(positive("the number of elements", *argument));
    }
  }
  if (options.lengths.empty()) options.lengths = {1'000'000, 10'000'000, 100'000'000, 1'000'000'000};
  return options;
}

bool fits(int64_t n) {
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  // A tenth for scratch memory.
  const double needed = 1.1 * static_cast<double>(n * kBytesPerElement + 2 * kCopyBytes);
  if (needed <= static_cast<double>(free)) return true;
  std::printf("%lld elements: left out, since they take %.1f GB and %.1f are free\n", static_cast<long long>(n),
              needed * 1e-9, static_cast<double>(free) * 1e-9);
  return false;
}

int run(const Options& options) {
  const Device device = open_device();
  std::printf("%s, %d multiprocessors, %.0f GiB\n", device.name.c_str(), device.multiprocessors,
              static_cast<double>(device.memory) / (1 << 30));
  Exactness exactness;
  if (options.exactness) {
    check_against_sort(device, exactness);
    const int64_t longest = *std::max_element(options.lengths.begin(), options.lengths.end());
    // One more than a round number: then the quantiles' ranks are whole.
    if (fits(longest)) check_by_counting(device, longest + 1, exactness);
    std::printf("%lld quantiles, thresholds and masks checked, %zu wrong\n", static_cast<long long>(exactness.checked),
                exactness.wrong.size());
    for (const std::string& line : exactness.wrong) std::printf("  %s\n", line.c_str());
    std::fflush(stdout);
  }
  std::vector<Report> reports;
  for (int64_t n : options.lengths) {
    if (!fits(n)) continue;
    reports.push_back(measure(device, n, options.rounds));
    print(reports.back());
  }
  if (!options.json.empty()) {
    std::ofstream file(options.json);
    file << json_of(device, reports, exactness);
    if (!file.flush()) throw std::runtime_error(options.json + " cannot be written");
  }
  return exactness.wrong.empty() ? 0 : 1;
}

}  // namespace

int main(int, char** argv) {
  try {
    return run(parse(argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
