#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "kernels/clones.h"
#include "kernels/low_rank.h"
#include "kernels/matmul.h"
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

// target[i][j] = factor * source[i * row + j * column], columns filled up with zeros.
void copy_padded(int64_t rows, int64_t columns, const float* source, int64_t row, int64_t column, float factor,
                 float* target) {
  const int64_t stride = padded(columns);
  for (int64_t i = 0; i < rows; ++i) {
    float* to = target + i * stride;
    for (int64_t j = 0; j < columns; ++j) to[j] = factor * source[i * row + j * column];
    std::fill(to + columns, to + stride, 0.0f);
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

// Right operands of the backward pass.
struct BackwardOperands {
  RightOperand b;  // scale * B, [out, r]
  RightOperand a;  // A, [r, in]
};

struct BackwardBlock {
  const LowRank& layer;
  const DropoutMask& mask;
  const BackwardOperands& right;
  int64_t begin, end;

  int64_t rows() const { return end - begin; }

  // dh = scale * dy B, [rows, r].
  void low_rank(const float* dy, float* dh) const {
    matmul(rows(), layer.r, layer.out, {dy + begin * layer.out, layer.out, 1}, right.b, dh, layer.r, false);
  }

  // `a` [r, in] and `b` [out, r] of the stripe, without the scale in `b`.
  void weights(const float* x, const float* hidden, const float* dy, const float* dh, float* scratch, bool first,
               float* a, float* b) const {
    const int64_t stride = padded(layer.in), r = layer.r;
    const float* in = dropped(layer, mask, x, begin, end, stride, scratch);
    matmul(r, layer.in, rows(), {dh, 1, r}, row_major_operand(in, stride), a, layer.in, !first);
    const float* h = hidden + begin * r;
    if (padded(r) != r) {
      copy_padded(rows(), r, h, r, 1, 1, scratch);
      h = scratch;
    }
    matmul(layer.out, r, rows(), {dy + begin * layer.out, 1, layer.out}, row_major_operand(h, padded(r)), b, r, !first);
  }

  void input(const float* dh, float* scratch, float* dx) const {
    float* into = dx + begin * layer.in;
    if (!mask.drops()) {
      matmul(rows(), layer.in, layer.r, {dh, layer.r, 1}, right.a, into, layer.in, true);
      return;
    }
    matmul(rows(), layer.in, layer.r, {dh, layer.r, 1}, right.a, scratch, layer.in, false);
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

}  // namespace

void low_rank_forward(int64_t rows, const LowRank& layer, const float* x, float* y, float* hidden) {
  const DropoutMask mask(layer.rate);
  const int64_t in = layer.in, out = layer.out, r = layer.r, columns = padded(r);
  Workspace& shared = shared_workspace();
  shared.reset(in * columns + packed_floats(r, out) + out * r, 3);
  float* a = shared.take(in * columns);
  copy_padded(in, r, layer.a, 1, in, 1, a);
  float* scaled = shared.take(out * r);
  for (int64_t i = 0; i < out * r; ++i) scaled[i] = layer.scale * layer.b[i];
  float* b = shared.take(packed_floats(r, out));
  pack_transposed(r, out, scaled, r, b);

  const int64_t block = rows_of_block(layer), stride = padded(in);
  const int64_t blocks = (rows + block - 1) / block;
  const int64_t grain = std::max<int64_t>(1, kParallelGrain / (block * std::max(in, out)));
  at::parallel_for(0, blocks, grain, [&](int64_t first, int64_t last) {
    Workspace& own = Workspace::of_this_thread();
    own.reset(block * (stride + r), 2);
    float* scratch = own.take(block * stride);
    float* own_hidden = own.take(block * r);
    for (int64_t begin = first * block; begin < std::min(last * block, rows); begin += block) {
      const int64_t end = std::min(begin + block, rows);
      const float* kept = dropped(layer, mask, x, begin, end, stride, scratch);
      float* h = hidden == nullptr ? own_hidden : hidden + begin * r;
      matmul(end - begin, r, in, {kept, stride, 1}, row_major_operand(a, columns), h, r, false);
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
  shared.reset(out * padded(r) + r * stride + stripes.count * partial, 3);
  float* b = shared.take(out * padded(r));
  copy_padded(out, r, layer.b, r, 1, layer.scale, b);
  float* a = shared.take(r * stride);
  copy_padded(r, in, layer.a, in, 1, 1, a);
  float* partials = shared.take(stripes.count * partial);
  const BackwardOperands right{row_major_operand(b, padded(r)), row_major_operand(a, stride)};

  at::parallel_for(0, stripes.count, 1, [&](int64_t first, int64_t last) {
    Workspace& own = Workspace::of_this_thread();
    own.reset(stripes.block * (std::max(stride, padded(r)) + r), 2);
    float* scratch = own.take(stripes.block * std::max(stride, padded(r)));
    float* dh = own.take(stripes.block * r);
    for (int64_t stripe = first; stripe < last; ++stripe) {
      const int64_t start = stripe * stripes.rows_of_stripe, stop = stripes.end(stripe);
      float* own_a = partials + stripe * partial;
      for (int64_t begin = start; begin < stop; begin += stripes.block) {
        BackwardBlock part{layer, mask, right, begin, std::min(begin + stripes.block, stop)};
        part.low_rank(dy, dh);
        if (trains) part.weights(x, hidden, dy, dh, scratch, begin == start, own_a, own_a + r * in);
        if (into.x != nullptr) part.input(dh, scratch, into.x);
      }
    }
  });
  if (!trains) return;
  add_partials(stripes.count, r * in, partials, partial, 1, into.a);
  add_partials(stripes.count, out * r, partials + r * in, partial, layer.scale, into.b);
}

}  // namespace rkif
