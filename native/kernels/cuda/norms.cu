#include <cmath>

#include "kernels/cuda/norms.h"
#include "kernels/cuda/row_share.h"

namespace rkif::cuda {
namespace {

constexpr int kBlock = 256;

// How rows are worked on: each by a warp or by a block, every thread with one share of it, or with one share after
// another where the row is longer than the shares of all (kOnce = false), which are then read again in every pass.
template <int kThreadsOfRow, int kWidth, int kPacks, bool kOnceRead>
struct Plan {
  static constexpr int kThreads = kThreadsOfRow;
  static constexpr bool kOnce = kOnceRead;
  using Share = RowShare<kThreads, kWidth, kPacks>;

  static __device__ int thread() { return static_cast<int>(threadIdx.x) % kThreads; }
  static __device__ int64_t first_row() {
    return int64_t{blockIdx.x} * (kBlock / kThreads) + static_cast<int>(threadIdx.x) / kThreads;
  }
  static __device__ int64_t row_step() { return int64_t{gridDim.x} * (kBlock / kThreads); }

  // pass(first column) for each span of the shares.
  template <class Pass>
  static __device__ void spans(int64_t columns, const Pass& pass) {
    if constexpr (kOnce) {
      pass(int64_t{0});
    } else {
      for (int64_t first = 0; first < columns; first += Share::kSpan) pass(first);
    }
  }

  static __device__ float row_sum(float value) {
    if constexpr (kThreads == kWarp) {
      return warp_sum(value);
    } else {
      __shared__ float partial[kBlock / kWarp];
      return block_sum(value, partial);
    }
  }
};

template <class Share>
__device__ bool exists(const Share&, int64_t first, int64_t columns, int thread, int element) {
  return first + Share::column(thread, element) < columns;
}

template <class Plan>
__global__ void __launch_bounds__(kBlock, 2)
    rms_norm_rows(int64_t rows, int64_t columns, const float* x, const float* weight, float epsilon, float* out,
                  Bfloat16* rounded, float* inverse) {
  using Share = typename Plan::Share;
  const int thread = Plan::thread();
  for (int64_t i = Plan::first_row(); i < rows; i += Plan::row_step()) {
    const float* in = x + i * columns;
    Share values;
    float squares = 0;
    Plan::spans(columns, [&](int64_t first) {
      values.load(in + first, columns - first, thread);
      RKIF_UNROLL
      for (int e = 0; e < Share::kElements; ++e) squares += values.at[e] * values.at[e];
    });
    const float scale = 1.0f / std::sqrt(Plan::row_sum(squares) / static_cast<float>(columns) + epsilon);
    Plan::spans(columns, [&](int64_t first) {
      if constexpr (!Plan::kOnce) values.load(in + first, columns - first, thread);
      Share weights;
      weights.load(weight + first, columns - first, thread);
      RKIF_UNROLL
      for (int e = 0; e < Share::kElements; ++e) weights.at[e] *= values.at[e] * scale;
      const int64_t at = i * columns + first;
      if (out != nullptr) weights.store(out + at, columns - first, thread);
      if (rounded != nullptr) weights.store(rounded + at, columns - first, thread);
    });
    if (inverse != nullptr && thread == 0) inverse[i] = scale;
  }
}

template <class Plan, class T>
__global__ void __launch_bounds__(kBlock, 2)
    rms_norm_gradient_rows(int64_t rows, int64_t columns, const float* x, const float* weight, const float* inverse,
                           Parts<T> g, float* dx) {
  using Share = typename Plan::Share;
  const int thread = Plan::thread();
  for (int64_t i = Plan::first_row(); i < rows; i += Plan::row_step()) {
    Share values, gradients;
    const auto load = [&](int64_t first) {
      const int64_t at = i * columns + first;
      values.load(x + at, columns - first, thread);
      gradients.load(g.at[0] + at, columns - first, thread);
      RKIF_UNROLL
      for (int k = 1; k < kMostParts; ++k) {
        if (k < g.count) {
          Share more;
          more.load(g.at[k] + at, columns - first, thread);
          RKIF_UNROLL
          for (int e = 0; e < Share::kElements; ++e) gradients.at[e] += more.at[e];
        }
      }
      Share weights;
      weights.load(weight + first, columns - first, thread);
      RKIF_UNROLL
      for (int e = 0; e < Share::kElements; ++e) gradients.at[e] *= weights.at[e];
    };
    float along = 0;
    Plan::spans(columns, [&](int64_t first) {
      load(first);
      RKIF_UNROLL
      for (int e = 0; e < Share::kElements; ++e) along += values.at[e] * gradients.at[e];
    });
    const float r = inverse[i];
    const float factor = r * r * r * (Plan::row_sum(along) / static_cast<float>(columns));
    Plan::spans(columns, [&](int64_t first) {
      if constexpr (!Plan::kOnce) load(first);
      RKIF_UNROLL
      for (int e = 0; e < Share::kElements; ++e) gradients.at[e] = r * gradients.at[e] - values.at[e] * factor;
      gradients.store(dx + i * columns + first, columns - first, thread);
    });
  }
}

template <class Plan>
__global__ void __launch_bounds__(kBlock, 2)
    layer_norm_rows(int64_t rows, int64_t columns, const float* x, const float* weight, const float* bias,
                    float epsilon, float* out, Moments* moments) {
  using Share = typename Plan::Share;
  const int thread = Plan::thread();
  for (int64_t i = Plan::first_row(); i < rows; i += Plan::row_step()) {
    const float* in = x + i * columns;
    Share values;
    float sum = 0;
    Plan::spans(columns, [&](int64_t first) {
      values.load(in + first, columns - first, thread);
      RKIF_UNROLL
      for (int e = 0; e < Share::kElements; ++e) sum += values.at[e];
    });
    const float mean = Plan::row_sum(sum) / static_cast<float>(columns);
    // Of the differences: the mean of the squares less the square of the mean would cancel.
    float squares = 0;
    Plan::spans(columns, [&](int64_t first) {
      if constexpr (!Plan::kOnce) values.load(in + first, columns - first, thread);
      RKIF_UNROLL
      for (int e = 0; e < Share::kElements; ++e) {
        const float difference = values.at[e] - mean;
        if (exists(values, first, columns, thread, e)) squares += difference * difference;
      }
    });
    const float r = 1.0f / std::sqrt(Plan::row_sum(squares) / static_cast<float>(columns) + epsilon);
    Plan::spans(columns, [&](int64_t first) {
      if constexpr (!Plan::kOnce) values.load(in + first, columns - first, thread);
      Share weights, shifts;
      weights.load(weight + first, columns - first, thread);
      shifts.load(bias + first, columns - first, thread);
      RKIF_UNROLL
      for (int e = 0; e < Share::kElements; ++e) {
        weights.at[e] = weights.at[e] * ((values.at[e] - mean) * r) + shifts.at[e];
      }
      weights.store(out + i * columns + first, columns - first, thread);
    });
    if (moments != nullptr && thread == 0) moments[i] = {mean, r};
  }
}

template <class Plan>
__global__ void __launch_bounds__(kBlock, 2)
    layer_norm_gradient_rows(int64_t rows, int64_t columns, const float* x, const float* weight, const Moments* moments,
                             const float* g, float* dx) {
  using Share = typename Plan::Share;
  const int thread = Plan::thread();
  for (int64_t i = Plan::first_row(); i < rows; i += Plan::row_step()) {
    const Moments row = moments[i];
    Share values, gradients;  // n and g'; g' is zero beyond the row
    const auto load = [&](int64_t first) {
      const int64_t at = i * columns + first;
      values.load(x + at, columns - first, thread);
      gradients.load(g + at, columns - first, thread);
      Share weights;
      weights.load(weight + first, columns - first, thread);
      RKIF_UNROLL
      for (int e = 0; e < Share::kElements; ++e) {
        values.at[e] = (values.at[e] - row.mean) * row.inverse;
        gradients.at[e] *= weights.at[e];
      }
    };
    float sum = 0, along = 0;
    Plan::spans(columns, [&](int64_t first) {
      load(first);
      RKIF_UNROLL
      for (int e = 0; e < Share::kElements; ++e) {
        sum += gradients.at[e];
        if (exists(values, first, columns, thread, e)) along += gradients.at[e] * values.at[e];
      }
    });
    const float shift = Plan::row_sum(sum) / static_cast<float>(columns);
    const float factor = Plan::row_sum(along) / static_cast<float>(columns);
    Plan::spans(columns, [&](int64_t first) {
      if constexpr (!Plan::kOnce) load(first);
      RKIF_UNROLL
      for (int e = 0; e < Share::kElements; ++e) {
        gradients.at[e] = row.inverse * (gradients.at[e] - shift - values.at[e] * factor);
      }
      gradients.store(dx + i * columns + first, columns - first, thread);
    });
  }
}

template <class T>
struct Type {
  using type = T;
};

// run(the type of the plan) and the blocks for it, by the rows' length and what their addresses allow.
template <class Run>
void with_plan(const Context& context, int64_t rows, int64_t columns, bool wide, const Run& run) {
  if (rows == 0) return;
  const unsigned a_warp = grid_for(context, rows, kBlock / kWarp, 16), a_block = grid_for(context, rows, 1, 16);
  if (!wide) {
    if (columns <= 1024) {
      run(Type<Plan<kWarp, 1, 8, false>>{}, a_warp);
    } else {
      run(Type<Plan<kBlock, 1, 8, false>>{}, a_block);
    }
  } else if (columns <= 512) {
    run(Type<Plan<kWarp, 4, 4, true>>{}, a_warp);
  } else if (columns <= 1024) {
    run(Type<Plan<kWarp, 4, 8, true>>{}, a_warp);
  } else if (columns <= 4096) {
    run(Type<Plan<kBlock, 4, 4, true>>{}, a_block);
  } else if (columns <= 8192) {
    run(Type<Plan<kBlock, 4, 8, true>>{}, a_block);
  } else {
    run(Type<Plan<kBlock, 4, 4, false>>{}, a_block);
  }
}

template <class... T>
bool wide_rows(int64_t columns, const T*... pointers) {
  return columns % 4 == 0 && allow_wide(4, pointers...);
}

}  // namespace

void rms_norm(const Context& context, int64_t rows, int64_t columns, const float* x, const float* weight, float epsilon,
              float* out, Bfloat16* rounded, float* inverse) {
  const bool wide = wide_rows(columns, x, weight, out) && allow_wide(4, rounded);
  with_plan(context, rows, columns, wide, [&](auto plan, unsigned grid) {
    launch(context, "rms_norm", grid, kBlock, 0, rms_norm_rows<typename decltype(plan)::type>, rows, columns, x, weight,
           epsilon, out, rounded, inverse);
  });
}

template <class T>
void rms_norm_gradient(const Context& context, int64_t rows, int64_t columns, const float* x, const float* weight,
                       const float* inverse, const Parts<T>& g, float* dx) {
  const bool wide = wide_rows(columns, x, weight, dx) && allow_wide(4, g.at[0], g.at[1], g.at[2]);
  with_plan(context, rows, columns, wide, [&](auto plan, unsigned grid) {
    launch(context, "rms_norm_gradient", grid, kBlock, 0, rms_norm_gradient_rows<typename decltype(plan)::type, T>,
           rows, columns, x, weight, inverse, g, dx);
  });
}

template void rms_norm_gradient(const Context&, int64_t, int64_t, const float*, const float*, const float*,
                                const Parts<float>&, float*);
template void rms_norm_gradient(const Context&, int64_t, int64_t, const float*, const float*, const float*,
                                const Parts<Bfloat16>&, float*);

void layer_norm(const Context& context, int64_t rows, int64_t columns, const float* x, const float* weight,
                const float* bias, float epsilon, float* out, Moments* moments) {
  with_plan(context, rows, columns, wide_rows(columns, x, weight, bias, out), [&](auto plan, unsigned grid) {
    launch(context, "layer_norm", grid, kBlock, 0, layer_norm_rows<typename decltype(plan)::type>, rows, columns, x,
           weight, bias, epsilon, out, moments);
  });
}

void layer_norm_gradient(const Context& context, int64_t rows, int64_t columns, const float* x, const float* weight,
                         const Moments* moments, const float* g, float* dx) {
  with_plan(context, rows, columns, wide_rows(columns, x, weight, g, dx), [&](auto plan, unsigned grid) {
    launch(context, "layer_norm_gradient", grid, kBlock, 0, layer_norm_gradient_rows<typename decltype(plan)::type>,
           rows, columns, x, weight, moments, g, dx);
  });
}

}  // namespace rkif::cuda
