// What products take their operands as: as they are, or rounded to bf16. Both in the same terms: k values of a sum are
// depth(k) words.
#pragma once
#include <cstdint>

#include "kernels/matmul.h"
#include "kernels/matmul_narrow.h"

namespace rkif {

// Rooms are for left operands, as large as left_words(), and written anew by each.
struct WideOperands {
  using Word = float;
  static int64_t depth(int64_t k) { return k; }
  static int64_t left_words(int64_t m, int64_t k) { return 0; }
  static Left<Word> left(int64_t m, int64_t k, const float* source, int64_t stride, Word* room) {
    return {source, stride, 1};
  }
  // A[i][p] = source[p * stride + i].
  static Left<Word> left_transposed(int64_t m, int64_t k, const float* source, int64_t stride, Word* room) {
    return {source, 1, stride};
  }
  static void pack(int64_t k, int64_t n, const float* source, int64_t stride, Word* packed) {
    rkif::pack(k, n, source, stride, packed);
  }
  static void pack_transposed(int64_t k, int64_t n, const float* source, int64_t stride, Word* packed, Word* room) {
    rkif::pack_transposed(k, n, source, stride, packed);
  }
  static void product(int64_t m, int64_t n, int64_t k, Left<Word> a, Right<Word> b, float* c, int64_t c_stride,
                      bool accumulate) {
    matmul(m, n, k, a, b, c, c_stride, accumulate);
  }
};

// Where multiplies_bfloat16().
struct NarrowOperands {
  using Word = Pair;
  static int64_t depth(int64_t k) { return pairs_of(k); }
  static int64_t left_words(int64_t m, int64_t k) { return m * pairs_of(k); }
  static Left<Word> left(int64_t m, int64_t k, const float* source, int64_t stride, Word* room) {
    narrow_rows(m, k, source, stride, room);
    return {room, pairs_of(k), 1};
  }
  static Left<Word> left_transposed(int64_t m, int64_t k, const float* source, int64_t stride, Word* room) {
    narrow_columns(m, k, source, stride, room);
    return {room, 1, m};
  }
  static void pack(int64_t k, int64_t n, const float* source, int64_t stride, Word* packed) {
    pack_narrow(k, n, source, stride, packed);
  }
  // `room`: left_words(n, k).
  static void pack_transposed(int64_t k, int64_t n, const float* source, int64_t stride, Word* packed, Word* room) {
    narrow_rows(n, k, source, stride, room);
    pack_pairs_transposed(pairs_of(k), n, room, pairs_of(k), packed);
  }
  static void product(int64_t m, int64_t n, int64_t k, Left<Word> a, Right<Word> b, float* c, int64_t c_stride,
                      bool accumulate) {
    matmul_narrow(m, n, pairs_of(k), a, b, c, c_stride, accumulate);
  }
};

}  // namespace rkif
