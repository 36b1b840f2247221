#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "kernels/clones.h"
#include "kernels/low_rank.h"
#include "kernels/matmul.h"
#include "kernels/sum.h"
#include "kernels/thin_products.h"
#include "kernels/workspace.h"

namespace rkif {
namespace {

// What matmul() reads of a row-major right operand comes in whole vectors.
constexpr int64_t kColumns = 16;
int64_t padded(int64_t columns) { return (columns + kColumns - 1) / kColumns * kColumns; }

// Floats of a block of rows, so that its input, output and gradients stay in the second-level cache together.
constexpr int64_t kBlockFloats = 48 * 1024;
// Partial sums of the gradients, at most.
constexpr int64_t kStripes = 32;

int64_t rows_of_block(const LowRank& layer) {
  return std::clamp<int64_t>(kBlockFloats / std::max(layer.in, layer.out) / 8 * 8, 16, 64);
}

// A thin matrix [r, columns], filled up with rows of zeros.
void copy_thin(int64_t r, int64_t columns, const float* source, float* target) {
  std::copy(source, source + r * columns, target);
  std::fill(target + r * columns, target + padded_thin_rows(r) * columns, 0.0f);
}

// The same of factor * the transposed source, [columns, r].
void copy_thin_turned(int64_t r, int64_t columns, const float* source, float factor, float* target) {
  for (int64_t j = 0; j < r; ++j) {
    for (int64_t i = 0; i < columns; ++i) target[j * columns + i] = factor * source[i * r + j];
  }
  std::fill(target + r * columns, target + padded_thin_rows(r) * columns, 0.0f);
}

// Rows whose length is no multiple of whole vectors, filled up with zeros: a right operand.
void copy_padded(int64_t rows, int64_t columns, const float* source, float* target) {
  const int64_t stride = padded(columns);
  for (int64_t i = 0; i < rows; ++i, target += stride) {
    std::copy(source + i * columns, source + (i + 1) * columns, target);
    std::fill(target + columns, target + stride, 0.0f);
  }
}

RKIF_CLONES void add_scaled(int64_t count, const float* in, float factor, float* out) {
  RKIF_ELEMENTWISE
  for (int64_t i = 0; i < count; ++i) out[i] += factor * in[i];
}

// What dropout leaves of rows [begin, end) of x, as a right operand too: x itself where nothing has to be done.
const float* dropped(const LowRank& layer, const DropoutMask& mask, const float* x, int64_t begin, int64_t end,
                     int64_t stride, float* scratch) {
  const float* first = x + begin * layer.in;
  if (!mask.drops() && stride == layer.in) return first;
  for (int64_t i = begin; i < end; ++i) {
    float* to = scratch + (i - begin) * stride;
    if (mask.drops()) {
      drop_row(layer.in, x + i * layer.in, layer.keys[i], mask, to);
    } else {
      std::memcpy(to, x + i * layer.in, layer.in * sizeof(float));
    }
    std::fill(to + layer.in, to + stride, 0.0f);
  }
  return scratch;
}

// The operands that all rows share: made on the calling thread, which keeps the memory from call to call.
Workspace& shared_workspace() {
  thread_local Workspace workspace;
  return workspace;
}

// Rows dealt out to threads in stripes of whole blocks.
struct Stripes {
  int64_t rows, block, rows_of_stripe, count;

  Stripes(int64_t rows, const LowRank& layer) : rows(rows), block(rows_of_block(layer)) {
    // At least twice the rank: the partial sums take no more memory than half of what they are made of.
    int64_t least = std::max({block, 2 * layer.r, (rows + kStripes - 1) / kStripes});
    rows_of_stripe = (least + block - 1) / block * block;
    count = (rows + rows_of_stripe - 1) / rows_of_stripe;
  }
  int64_t end(int64_t stripe) const { return std::min(rows, (stripe + 1) * rows_of_stripe); }
};

// What all rows of the backward pass share.
struct BackwardOperands {
  const float* b;  // scale * B transposed, [r, out], as thin_products() takes it
  RightOperand a;  // A, [r, in]
};

struct BackwardBlock {
  const LowRank& layer;
  const DropoutMask& mask;
  const BackwardOperands& shared;
  int64_t begin, end;

  int64_t rows() const { return end - begin; }

  // dh = scale * dy B, [rows, r].
  void low_rank(const float* dy, float* dh) const {
    thin_products(rows(), layer.out, dy + begin * layer.out, layer.out, shared.b, layer.r, dh);
  }

  // `a` [r, in] and `b` transposed, [r, out], of the stripe, without the scale in `b`.
  void weights(const float* x, const float* hidden, const float* dy, const float* dh, float* scratch, bool first,
               float* a, float* b) const {
    const int64_t in = layer.in, out = layer.out, r = layer.r;
    const float* kept = dropped(layer, mask, x, begin, end, padded(in), scratch);
    matmul(r, in, rows(), {dh, 1, r}, row_major_operand(kept, padded(in)), a, in, !first);
    const float* given = dy + begin * out;
    if (padded(out) != out) {
      copy_padded(rows(), out, given, scratch);
      given = scratch;
    }
    matmul(r, out, rows(), {hidden + begin * r, 1, r}, row_major_operand(given, padded(out)), b, out, !first);
  }

  void input(const float* dh, float* scratch, float* dx) const {
    float* into = dx + begin * layer.in;
    if (!mask.drops()) {
      matmul(rows(), layer.in, layer.r, {dh, layer.r, 1}, shared.a, into, layer.in, true);
      return;
    }
    matmul(rows(), layer.in, layer.r, {dh, layer.r, 1}, shared.a, scratch, layer.in, false);
    for (int64_t i = 0; i < rows(); ++i) {
      add_dropped_row(layer.in, scratch + i * layer.in, layer.keys[begin + i], mask, into + i * layer.in);
    }
  }
};

// into += factor * the sum of `count` partial sums that lie `distance` apart, in their order.
void add_partials(int64_t count, int64_t size, const float* partials, int64_t distance, float factor, float* into) {
  at::parallel_for(0, size, std::max<int64_t>(1, kParallelGrain / count), [&](int64_t begin, int64_t end) {
    for (int64_t stripe = 0; stripe < count; ++stripe) {
      add_scaled(end - begin, partials + stripe * distance + begin, factor, into + begin);
    }
  });
}

// The same of partial sums [r, columns] onto [columns, r].
void add_partials_turned(int64_t count, int64_t r, int64_t columns, const float* partials, int64_t distance,
                         float factor, float* into) {
  // Columns at a time, whose sums stay in the first-level cache.
  constexpr int64_t kAtOnce = 64;
  const int64_t pieces = (columns + kAtOnce - 1) / kAtOnce;
  const int64_t grain = std::max<int64_t>(1, kParallelGrain / (count * r * kAtOnce));
  at::parallel_for(0, pieces, grain, [&](int64_t first, int64_t last) {
    for (int64_t begin = first * kAtOnce; begin < std::min(last * kAtOnce, columns); begin += kAtOnce) {
      const int64_t width = std::min(kAtOnce, columns - begin);
      for (int64_t j = 0; j < r; ++j) {
        float sums[kAtOnce] = {};
        for (int64_t stripe = 0; stripe < count; ++stripe) {
          add_scaled(width, partials + stripe * distance + j * columns + begin, 1, sums);
        }
        for (int64_t i = 0; i < width; ++i) into[(begin + i) * r + j] += factor * sums[i];
      }
    }
  });
}

}  // namespace

void low_rank_forward(int64_t rows, const LowRank& layer, const float* x, float* y, float* hidden,
                      const Bfloat16* base) {
  const DropoutMask mask(layer.rate);
  const int64_t in = layer.in, out = layer.out, r = layer.r;
  Workspace& shared = shared_workspace();
  const int64_t thin = padded_thin_rows(r) * in;
  shared.reset(thin + packed_floats(r, out) + out * r, 3);
  float* a = shared.take(thin);
  copy_thin(r, in, layer.a, a);
  float* scaled = shared.take(out * r);
  for (int64_t i = 0; i < out * r; ++i) scaled[i] = layer.scale * layer.b[i];
  float* b = shared.take(packed_floats(r, out));
  pack_transposed(r, out, scaled, r, b);

  const int64_t block = rows_of_block(layer);
  const int64_t blocks = (rows + block - 1) / block;
  const int64_t grain = std::max<int64_t>(1, kParallelGrain / (block * std::max(in, out)));
  at::parallel_for(0, blocks, grain, [&](int64_t first, int64_t last) {
    Workspace& own = Workspace::of_this_thread();
    own.reset(block * (in + r), 2);
    float* scratch = own.take(block * in);
    float* own_hidden = own.take(block * r);
    for (int64_t begin = first * block; begin < std::min(last * block, rows); begin += block) {
      const int64_t end = std::min(begin + block, rows);
      const float* kept = dropped(layer, mask, x, begin, end, in, scratch);
      float* h = hidden == nullptr ? own_hidden : hidden + begin * r;
      thin_products(end - begin, in, kept, in, a, r, h);
      if (base != nullptr) sum_parts((end - begin) * out, Parts<Bfloat16>{1, {base + begin * out}}, y + begin * out);
      matmul(end - begin, out, r, {h, r, 1}, packed_operand(b, r), y + begin * out, out, true);
    }
  });
}

void low_rank_backward(int64_t rows, const LowRank& layer, const float* x, const float* hidden, const float* dy,
                       const LowRankGradients& into) {
  if (rows == 0) return;
  const DropoutMask mask(layer.rate);
  const int64_t in = layer.in, out = layer.out, r = layer.r, stride = padded(in);
  const Stripes stripes(rows, layer);
  const bool trains = into.a != nullptr;
  const int64_t partial = trains ? (in + out) * r : 0;

  Workspace& shared = shared_workspace();
  const int64_t thin = padded_thin_rows(r) * out;
  shared.reset(thin + r * stride + stripes.count * partial, 3);
  float* b = shared.take(thin);
  copy_thin_turned(r, out, layer.b, layer.scale, b);
  float* a = shared.take(r * stride);
  copy_padded(r, in, layer.a, a);
  float* partials = shared.take(stripes.count * partial);
  const BackwardOperands operands{b, row_major_operand(a, stride)};

  at::parallel_for(0, stripes.count, 1, [&](int64_t first, int64_t last) {
    Workspace& own = Workspace::of_this_thread();
    const int64_t scratch_floats = stripes.block * std::max(stride, padded(out));
    own.reset(scratch_floats + stripes.block * r, 2);
    float* scratch = own.take(scratch_floats);
    float* dh = own.take(stripes.block * r);
    for (int64_t stripe = first; stripe < last; ++stripe) {
      const int64_t start = stripe * stripes.rows_of_stripe, stop = stripes.end(stripe);
      float* own_a = partials + stripe * partial;
      for (int64_t begin = start; begin < stop; begin += stripes.block) {
        BackwardBlock part{layer, mask, operands, begin, std::min(begin + stripes.block, stop)};
        part.low_rank(dy, dh);
        if (trains) part.weights(x, hidden, dy, dh, scratch, begin == start, own_a, own_a + r * in);
        if (into.x != nullptr) part.input(dh, scratch, into.x);
      }
    }
  });
  if (!trains) return;
  add_partials(stripes.count, r * in, partials, partial, 1, into.a);
  add_partials_turned(stripes.count, r, out, partials + r * in, partial, layer.scale, into.b);
}

}  // namespace rkif
