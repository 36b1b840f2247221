#include <ATen/Parallel.h>

#include <algorithm>

#include "kernels/head_products.h"
#include "kernels/operands.h"
#include "kernels/workspace.h"

namespace rkif {
namespace {

// Rows of one task. A head's matrix is laid out anew for each.
constexpr int64_t kRowBlock = 128;

// W's rows of one head as the products take them: fp32, ...
struct FloatHead {
  using Operands = WideOperands;
  const float* w;
  int64_t size, width;

  FloatHead(const HeadWeights& of, int64_t head)
      : w(of.w + head * of.size * of.width), size(of.size), width(of.width) {}
  static int64_t room_floats(const HeadWeights&) { return 0; }
  void pack(float*, float* packed) const { Operands::pack(size, width, w, width, packed); }
  void pack_transposed(float*, float* packed) const {
    Operands::pack_transposed(width, size, w, width, packed, nullptr);
  }
};

// ... bf16 that is widened on the way, ...
struct WidenedHead {
  using Operands = WideOperands;
  const Bfloat16* w;
  int64_t size, width;

  WidenedHead(const HeadWeights& of, int64_t head)
      : w(of.narrow_w + head * of.size * of.width), size(of.size), width(of.width) {}
  static int64_t room_floats(const HeadWeights& of) { return of.size * of.width; }
  void pack(float* room, float* packed) const { Operands::pack(size, width, widened_to(room), width, packed); }
  void pack_transposed(float* room, float* packed) const {
    Operands::pack_transposed(width, size, widened_to(room), width, packed, nullptr);
  }

 private:
  const float* widened_to(float* room) const {
    std::transform(w, w + size * width, room, [](Bfloat16 value) { return widened(value); });
    return room;
  }
};

// ... or bf16 as it is: its rows are words.
struct NarrowHead {
  using Operands = NarrowOperands;
  const Bfloat16* w;
  int64_t size, width;

  NarrowHead(const HeadWeights& of, int64_t head)
      : w(of.narrow_w + head * of.size * of.width), size(of.size), width(of.width) {}
  static int64_t room_floats(const HeadWeights&) { return 0; }
  void pack(float*, Pair* packed) const { pack_narrow(size, width, w, width, packed); }
  void pack_transposed(float*, Pair* packed) const {
    pack_pairs_transposed(width / 2, size, reinterpret_cast<const Pair*>(w), width / 2, packed);
  }
};

// scale * B of one head, laid out by `lay_out(scaled, packed)`.
template <typename LayOut>
const float* scaled_b(const HeadWeights& of, int64_t head, Workspace& own, int64_t packed_size, const LayOut& lay_out) {
  if (of.rank == 0) return nullptr;
  const int64_t count = of.size * of.rank;
  float* scaled = own.take(count);
  float* packed = own.take(packed_size);
  const float* b = of.b + head * count;
  std::transform(b, b + count, scaled, [&](float value) { return of.scale * value; });
  lay_out(scaled, packed);
  return packed;
}

// body(head, first row, rows) for all of them, on all threads.
template <typename Body>
void run_tasks(int64_t heads, int64_t rows, const Body& body) {
  const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock;
  at::parallel_for(0, heads * blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; task++) {
      const int64_t begin = task % blocks * kRowBlock;
      body(task / blocks, begin, std::min(kRowBlock, rows - begin));
    }
  });
}

template <class Head>
void spread_by(const HeadWeights& of, int64_t rows, const float* x, float* spread) {
  using Operands = typename Head::Operands;
  using Word = typename Operands::Word;
  const int64_t size = of.size, width = of.width, depth = Operands::depth(size);
  const int64_t x_stride = of.heads * size, stride = of.heads * of.row;
  const int64_t packed_words = packed_floats(depth, width), left_words = Operands::left_words(kRowBlock, size),
                packed_b = packed_floats(size, of.rank);
  run_tasks(of.heads, rows, [&](int64_t index, int64_t begin, int64_t count) {
    const Head head(of, index);
    Workspace& own = Workspace::of_this_thread();
    own.reset(packed_words + left_words + Head::room_floats(of) + size * of.rank + packed_b, 5);
    Word* packed = own.take<Word>(packed_words);
    Word* left = own.take<Word>(left_words);
    head.pack(own.take(Head::room_floats(of)), packed);
    const float* from = x + begin * x_stride + index * size;
    float* to = spread + begin * stride + index * of.row;
    Operands::product(count, width, size, Operands::left(count, size, from, x_stride, left),
                      packed_operand<Word>(packed, depth), to, stride, false);
    for (int64_t i = 0; i < count; i++) std::fill(to + i * stride + width, to + i * stride + of.row, 0.0f);
    const float* b = scaled_b(of, index, own, packed_b,
                              [&](const float* scaled, float* into) { pack(size, of.rank, scaled, of.rank, into); });
    if (b == nullptr) return;
    matmul(count, of.rank, size, {from, x_stride, 1}, packed_operand(b, size), to + of.column, stride, false);
  });
}

template <class Head>
void gather_by(const HeadWeights& of, int64_t rows, const float* spread, float* gathered) {
  using Operands = typename Head::Operands;
  using Word = typename Operands::Word;
  const int64_t size = of.size, width = of.width, depth = Operands::depth(width);
  const int64_t stride = of.heads * of.row, to_stride = of.heads * size;
  const int64_t packed_words = packed_floats(depth, size), left_words = Operands::left_words(kRowBlock, width),
                packed_b = packed_floats(of.rank, size);
  run_tasks(of.heads, rows, [&](int64_t index, int64_t begin, int64_t count) {
    const Head head(of, index);
    Workspace& own = Workspace::of_this_thread();
    own.reset(packed_words + left_words + Head::room_floats(of) + size * of.rank + packed_b, 5);
    Word* packed = own.take<Word>(packed_words);
    Word* left = own.take<Word>(left_words);
    head.pack_transposed(own.take(Head::room_floats(of)), packed);
    const float* from = spread + begin * stride + index * of.row;
    float* to = gathered + begin * to_stride + index * size;
    Operands::product(count, size, width, Operands::left(count, width, from, stride, left),
                      packed_operand<Word>(packed, depth), to, to_stride, false);
    const float* b = scaled_b(of, index, own, packed_b, [&](const float* scaled, float* into) {
      pack_transposed(of.rank, size, scaled, of.rank, into);
    });
    if (b == nullptr) return;
    matmul(count, size, of.rank, {from + of.column, stride, 1}, packed_operand(b, of.rank), to, to_stride, true);
  });
}

}  // namespace

void spread_heads(const HeadWeights& of, int64_t rows, const float* x, float* spread) {
  if (of.w != nullptr) return spread_by<FloatHead>(of, rows, x, spread);
  const bool narrow = multiplies_bfloat16() && of.width % 2 == 0;
  return (narrow ? spread_by<NarrowHead> : spread_by<WidenedHead>)(of, rows, x, spread);
}

void gather_heads(const HeadWeights& of, int64_t rows, const float* spread, float* gathered) {
  if (of.w != nullptr) return gather_by<FloatHead>(of, rows, spread, gathered);
  const bool narrow = multiplies_bfloat16() && of.width % 2 == 0;
  return (narrow ? gather_by<NarrowHead> : gather_by<WidenedHead>)(of, rows, spread, gathered);
}

void add_head_gradient(const HeadWeights& of, int64_t rows, const float* x, const HeadHidden& h, float* grad_b) {
  const int64_t size = of.size, rank = of.rank;
  at::parallel_for(0, of.heads, 1, [&](int64_t first, int64_t last) {
    Workspace& own = Workspace::of_this_thread();
    own.reset(rows * rank + packed_floats(rows, rank), 2);
    float* scaled = own.take(rows * rank);
    float* packed = own.take(packed_floats(rows, rank));
    for (int64_t head = first; head < last; head++) {
      for (int64_t i = 0; i < rows; i++) {
        const float* from = h.data + i * h.row + head * h.head;
        std::transform(from, from + rank, scaled + i * rank, [&](float value) { return of.scale * value; });
      }
      pack(rows, rank, scaled, rank, packed);
      matmul(size, rank, rows, {x + head * size, 1, of.heads * size}, packed_operand(packed, rows),
             grad_b + head * size * rank, rank, true);
    }
  });
}

}  // namespace rkif
