#include <algorithm>

#include "kernels/cuda/low_rank.h"
#include "kernels/cuda/low_rank_rows.h"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/sum.h"

namespace rkif::cuda {
namespace {

// How the columns of a wide matrix are shared out.
struct ColumnBlocks {
  int64_t count;
  unsigned threads;

  explicit ColumnBlocks(int64_t columns) {
    const int64_t tiles = divide_up(columns, kWarpColumns), warps = std::min<int64_t>(tiles, kLowRankWarps);
    count = divide_up(tiles, warps);
    threads = static_cast<unsigned>(warps * kWarp);
  }
};

// The low-rank path's side of one wide matrix.
struct Side {
  int64_t rows;
  int64_t columns;
  int64_t r;
  Masks masks;
  ThinMatrix matrix;
};

// kernel(width, ranks) with constants for arguments: accesses of 16 bytes where the rows allow it, eight ranks at a
// time or sixteen.
template <class Run>
void with_constants(const Side& side, const float* wide, const Run& run) {
  const bool wide_access = side.columns % kLaneColumns == 0 && allow_wide(4, wide);
  const auto with_width = [&](auto width) {
    if (side.r <= 8) {
      run(width, std::integral_constant<int, 8>{});
    } else {
      run(width, std::integral_constant<int, 16>{});
    }
  };
  if (wide_access) {
    with_width(std::integral_constant<int, 4>{});
  } else {
    with_width(std::integral_constant<int, 1>{});
  }
}

// Where the results of a pass over a wide matrix go.
struct Products {
  float* projected = nullptr;    // [rows, r]; null: not wanted
  const float* left = nullptr;   // [rows, r]
  float* add_sums_to = nullptr;  // [r, columns], or [columns, r]; null: not wanted
  float sums_scale = 1;
  bool sums_transposed = false;
};

template <int kWidth, int kRanks>
auto* kernel_for(const Products& products) {
  if (products.add_sums_to == nullptr) return thin_products<kWidth, kRanks, true, false>;
  if (products.projected == nullptr) return thin_products<kWidth, kRanks, false, true>;
  return thin_products<kWidth, kRanks, true, true>;
}

void multiply(const Context& context, const char* name, const Side& side, const float* wide, const Products& products) {
  with_constants(side, wide, [&](auto width, auto ranks) {
    const ColumnBlocks columns(side.columns);
    const int64_t chunks = divide_up(side.r, ranks);
    const RowBlocks blocks(context, side.rows, columns.count * chunks, ranks > 8 ? 2 : 3, kRowsAtOnce);
    // One block of columns has the whole sum.
    const bool in_parts = products.projected != nullptr && columns.count > 1;
    const Scratch<float> parts(context, in_parts ? columns.count * side.rows * side.r : 1);
    const Scratch<float> sums(context, products.add_sums_to != nullptr ? blocks.count * side.r * side.columns : 1);
    const ThinProducts p{side.rows,     side.columns, side.r,
                         blocks.rows,   chunks,       side.masks,
                         wide,          side.matrix,  in_parts ? parts.data() : products.projected,
                         products.left, sums.data()};
    const dim3 grid(static_cast<unsigned>(blocks.count * chunks), static_cast<unsigned>(columns.count));
    launch(context, name, grid, columns.threads, 0, kernel_for<width, ranks>(products), p);
    if (in_parts) {
      PartialSums all{columns.count, side.rows, side.r, parts.data()};
      all.adds = false;
      launch_partial_sums(context, all, products.projected);
    }
    if (products.add_sums_to != nullptr) {
      launch_partial_sums(
          context, {blocks.count, side.r, side.columns, sums.data(), products.sums_scale, products.sums_transposed},
          products.add_sums_to);
    }
  });
}

void expand(const Context& context, const char* name, const Side& side, const float* left, float* into) {
  with_constants(side, into, [&](auto width, auto ranks) {
    const ColumnBlocks columns(side.columns);
    // What several turns read again is to stay in the cache.
    const int64_t rows_of_block = side.r > ranks ? kRowsOfStep : 2 * kRowsOfStep;
    const dim3 grid(static_cast<unsigned>(divide_up(side.rows, rows_of_block)), static_cast<unsigned>(columns.count));
    launch(context, name, grid, columns.threads, 0, add_thin_expansion<width, ranks>,
           ThinExpansion{side.rows, side.columns, side.r, rows_of_block, side.masks, left, side.matrix, into});
  });
}

// dropout(x) with A, and y or dy, where no dropout is, with scale * B.
Side input_side(int64_t rows, const LowRank& layer) {
  const Masks masks(MaskedMatrix{rows, layer.in, layer.keys, layer.rate});
  return {rows, layer.in, layer.r, masks, {layer.a, layer.in, 1, 1.0f}};
}
Side output_side(int64_t rows, const LowRank& layer) {
  return {rows, layer.out, layer.r, Masks(MaskedMatrix{rows, layer.out}), {layer.b, 1, layer.r, layer.scale}};
}

}  // namespace

void low_rank_forward(const Context& context, int64_t rows, const LowRank& layer, const float* x, float* y,
                      float* hidden, const Bfloat16* base) {
  const Side input = input_side(rows, layer), output = output_side(rows, layer);
  if (rows == 0) return;
  const Scratch<float> own(context, hidden == nullptr ? rows * layer.r : 1);
  float* into = hidden == nullptr ? own.data() : hidden;
  multiply(context, "low_rank_forward: hidden", input, x, {into});
  if (base != nullptr) sum_parts(context, rows * layer.out, Parts<Bfloat16>{1, {base}}, y);
  expand(context, "low_rank_forward: y", output, into, y);
}

void low_rank_backward(const Context& context, int64_t rows, const LowRank& layer, const float* x, const float* hidden,
                       const float* dy, const LowRankGradients& into) {
  const Side input = input_side(rows, layer), output = output_side(rows, layer);
  if (rows == 0) return;
  const Scratch<float> dh(context, rows * layer.r);
  multiply(context, "low_rank_backward: dh, b", output, dy, {dh.data(), hidden, into.b, layer.scale, true});
  if (into.a != nullptr) multiply(context, "low_rank_backward: a", input, x, {nullptr, dh.data(), into.a});
  if (into.x != nullptr) expand(context, "low_rank_backward: x", input, dh.data(), into.x);
}

}  // namespace rkif::cuda
