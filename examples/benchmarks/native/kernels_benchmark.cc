// Time of each kernel as a multiple of one memcpy of a vector of the same length, measured in the same run.
//   rkif_kernels_benchmark [ELEMENTS ...] [--threads T] [--rounds R] [--json]
// Every round times each kernel right after a memcpy of its own; a kernel's ratio is the median over the rounds. All
// memory is touched before.
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "kernels/adamw.h"
#include "kernels/dropout.h"
#include "kernels/fuse.h"
#include "kernels/importance.h"
#include "kernels/select.h"
#include "kernels/vector_ops.h"

namespace {

struct Options {
  std::vector<int64_t> lengths;
  int threads = 0;  // 0: as many as libtorch takes
  int rounds = 7;
  bool json = false;
};

struct Kernel {
  std::string name;
  std::function<void()> run;
};

struct Timing {
  std::string name;
  double milliseconds;
  double ratio;
};

struct Report {
  int64_t elements;
  double memcpy_milliseconds;
  std::vector<Timing> timings;
};

// What the method keeps for one adapter, in the shapes of its numbers: normal-like vectors, and scores spread over many
// powers of two.
class Vectors {
 public:
  explicit Vectors(int64_t n) : n(n) {
    for (auto* vector : {&start, &tau_in, &tau_out, &parameters, &m}) fill(*vector, 1e-3f, false);
    for (auto* vector : {&score_in, &score_out, &v, &importance, &uncertainty}) fill(*vector, 1e-6f, true);
    for (auto* mask : {&mask_in, &mask_out}) {
      mask->reset(new uint8_t[n]);
      std::memset(mask->get(), 1, n);
    }
  }

  using Floats = std::unique_ptr<float[]>;
  int64_t n;
  Floats start, tau_in, tau_out, parameters, m, score_in, score_out, v, importance, uncertainty;
  std::unique_ptr<uint8_t[]> mask_in, mask_out;

 private:
  void fill(Floats& vector, float size, bool score) {
    vector.reset(new float[n]);
    const uint64_t seed = ++filled_;
    at::parallel_for(0, n, 32768, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto uniform = [&](uint64_t draw) {
          return static_cast<float>(rkif::mix64(rkif::mix64(seed * 8 + draw) ^ i) >> 40) * 0x1p-24f - 0.5f;
        };
        const float normal = uniform(0) + uniform(1) + uniform(2);
        vector[i] = size * (score ? std::abs(normal * uniform(3) * uniform(4) * uniform(5)) : normal);
      }
    });
  }
  uint64_t filled_ = 0;
};

std::vector<Kernel> kernels(Vectors& x) {
  const int64_t n = x.n;
  const rkif::ImportanceDecay decay{0.55f, 0.55f};
  const rkif::FusionTable table{{{0, 0}, {1, 0}, {0, 1}, {1, 1}}};
  const rkif::AdamW adamw{
      .learning_rate = 3e-4, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0, .update = 10};
  const auto select = [&x, n](const Vectors::Floats& score, std::unique_ptr<uint8_t[]>& mask) {
    const float threshold = rkif::quantile(n, score.get(), 0.8);
    rkif::mask_by_threshold(n, score.get(), threshold, rkif::Compare::kGreaterEqual, mask.get());
  };
  const auto fuse = [&x, n, table] {
    rkif::fuse(n, x.start.get(), x.tau_in.get(), x.tau_out.get(), x.mask_in.get(), x.mask_out.get(), table,
               x.parameters.get());
  };
  const auto step = [&x, n, adamw](const rkif::ImportanceUpdate* update) {
    rkif::adamw_step(n, x.parameters.get(), x.tau_in.get(), x.m.get(), x.v.get(), 0.5f, adamw, update);
  };
  return {
      {"two quantiles, two masks, fusion",
       [&x, select, fuse] {
         select(x.score_in, x.mask_in);
         select(x.score_out, x.mask_out);
         fuse();
       }},
      {"quantile", [&x, n] { rkif::quantile(n, x.score_in.get(), 0.8); }},
      {"six quantiles", [&x, n] { rkif::quantiles(n, x.score_in.get(), {0, 0.2, 0.5, 0.8, 0.95, 1}); }},
      {"mask by threshold",
       [&x, n] { rkif::mask_by_threshold(n, x.score_in.get(), 1e-8f, rkif::Compare::kGreater, x.mask_in.get()); }},
      {"mask of top k", [&x, n] { rkif::mask_top_k(n, x.score_in.get(), n / 5, x.mask_in.get()); }},
      {"fuse", fuse},
      {"fuse, adaptive",
       [&x, n] {
         rkif::fuse_adaptive(n, x.start.get(), x.tau_in.get(), x.tau_out.get(), x.score_in.get(), x.score_out.get(), 1,
                             x.parameters.get(), nullptr, nullptr);
       }},
      {"difference", [&x, n] { rkif::difference(n, x.start.get(), x.tau_in.get(), x.parameters.get()); }},
      {"add scaled", [&x, n] { rkif::add_scaled(n, x.parameters.get(), x.tau_in.get(), 0.5f); }},
      {"scale", [&x, n] { rkif::scale(n, x.parameters.get(), 0.5f); }},
      {"product", [&x, n] { rkif::product(n, x.score_in.get(), x.score_out.get(), x.parameters.get()); }},
      {"norm", [&x, n] { rkif::norm(n, x.tau_in.get()); }},
      {"importance",
       [&x, n, decay] {
         rkif::update_importance(n, x.start.get(), x.tau_in.get(), nullptr, decay, x.importance.get(),
                                 x.uncertainty.get());
       }},
      {"adamw", [step] { step(nullptr); }},
      {"adamw with importance",
       [&x, decay, step] {
         const rkif::ImportanceUpdate update{
             .importance = x.importance.get(), .uncertainty = x.uncertainty.get(), .decay = decay};
         step(&update);
       }},
  };
}

double milliseconds(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

Report measure(int64_t n, int rounds) {
  Vectors vectors(n);
  const std::vector<Kernel> all = kernels(vectors);
  std::vector<std::vector<double>> times(all.size()), ratios(all.size());
  std::vector<double> copies;
  // The first round warms up and does not count.
  for (int round = 0; round <= rounds; ++round) {
    for (size_t k = 0; k < all.size(); ++k) {
      const double copy =
          milliseconds([&] { std::memcpy(vectors.parameters.get(), vectors.start.get(), n * sizeof(float)); });
      const double time = milliseconds(all[k].run);
      if (round == 0) continue;
      copies.push_back(copy);
      times[k].push_back(time);
      ratios[k].push_back(time / copy);
    }
  }
  Report report{n, median(copies), {}};
  for (size_t k = 0; k < all.size(); ++k) report.timings.push_back({all[k].name, median(times[k]), median(ratios[k])});
  return report;
}

void print_table(const Report& report) {
  std::printf("%lld elements: memcpy %.3f ms, %d threads\n", static_cast<long long>(report.elements),
              report.memcpy_milliseconds, at::get_num_threads());
  for (const Timing& timing : report.timings)
    std::printf("  %-34s %10.3f ms %8.2f x memcpy\n", timing.name.c_str(), timing.milliseconds, timing.ratio);
}

void print_json(const std::vector<Report>& reports) {
  std::printf("{\"threads\":%d,\"lengths\":[", at::get_num_threads());
  for (size_t r = 0; r < reports.size(); ++r) {
    std::printf("%s{\"elements\":%lld,\"memcpyMs\":%.6g,\"kernels\":[", r ? "," : "",
                static_cast<long long>(reports[r].elements), reports[r].memcpy_milliseconds);
    for (size_t k = 0; k < reports[r].timings.size(); ++k) {
      const Timing& timing = reports[r].timings[k];
      std::printf("%s{\"name\":\"%s\",\"ms\":%.6g,\"ratio\":%.6g}", k ? "," : "", timing.name.c_str(),
                  timing.milliseconds, timing.ratio);
    }
    std::printf("]}");
  }
  std::printf("]}\n");
}

Options parse(char** argument) {
  Options options;
  for (++argument; *argument; ++argument) {
    const std::string name = *argument;
    if (name == "--json") {
      options.json = true;
    } else if (name == "--threads" || name == "--rounds") {
      const int64_t value = positive(name, argument[1]);
      (name == "--threads" ? options.threads : options.rounds) = static_cast<int>(value);
      ++argument;
    } else {
      options.lengths.push_back(positive("the number of elements", argument[0]));
    }
  }
  if (options.lengths.empty()) options.lengths = {1'000'000, 10'000'000, 100'000'000};
  return options;
}

}  // namespace

int main(int, char** argv) {
  const Options options = parse(argv);
  if (options.threads) at::set_num_threads(options.threads);
  std::vector<Report> reports;
  for (int64_t n : options.lengths) {
    reports.push_back(measure(n, options.rounds));
    if (!options.json) print_table(reports.back());
  }
  if (options.json) print_json(reports);
}
