#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "kernels/fused.h"
#include "kernels/matmul_narrow.h"

#if RKIF_X86_VERSIONS
#include <immintrin.h>
#endif

namespace rkif {

void pack_pairs_transposed(int64_t pairs_of_k, int64_t n, const Pair* pairs, int64_t row, Pair* packed) {
  // Words are moved, whatever they mean.
  pack_transposed(pairs_of_k, n, reinterpret_cast<const float*>(pairs), row, reinterpret_cast<float*>(packed));
}

}  // namespace rkif

#if RKIF_X86_VERSIONS
namespace rkif {

bool multiplies_bfloat16() {
  static const bool found = __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16");
  return found;
}

}  // namespace rkif

// Everything from here on: what a template calls must be compiled for the same instructions.
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16")
#include "kernels/matmul_tiles.h"

namespace rkif {
namespace {

struct MultiplyPairs {
  using Vec = __m512;
  using Word = Pair;
  static RKIF_INLINE void add(Vec& sum, Pair a, const Pair* b) {
    const __m512i both = _mm512_set1_epi32(static_cast<int>(a));
    sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_loadu_si512(b), (__m512bh)both);
  }
};

RKIF_INLINE __mmask16 first_lanes(int64_t count) { return static_cast<__mmask16>((1u << count) - 1); }

// 16 words of which each holds a value of `low` and of `high`.
RKIF_INLINE __m512i paired(__m512 low, __m512 high) {
  alignas(64) static constexpr uint16_t kOrder[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(high, low);
  return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), halves);
}

RKIF_INLINE __m512 load_lanes(__mmask16 lanes, const float* from) { return _mm512_maskz_loadu_ps(lanes, from); }

// Rows ahead that passes over scattered pieces ask for: see pack().
constexpr int64_t kRowsAhead = 8;

// Two rows in words: to[j] for j < n; with zeros up to a whole vector where `fill`.
RKIF_INLINE void pair_rows(const float* low, const float* high, int64_t n, bool fill, Pair* to) {
  int64_t j = 0;
  // Masks cost as much as the work itself.
  if (high != nullptr) {
    for (; j + 16 <= n; j += 16, to += 16) {
      _mm512_storeu_si512(to, paired(_mm512_loadu_ps(low + j), _mm512_loadu_ps(high + j)));
    }
  }
  for (; j < n; j += 16, to += 16) {
    const __mmask16 lanes = first_lanes(std::min<int64_t>(16, n - j));
    const __m512 first = load_lanes(lanes, low + j);
    const __m512 second = load_lanes(high == nullptr ? 0 : lanes, high == nullptr ? low + j : high + j);
    const __m512i words = paired(first, second);
    if (fill) {
      _mm512_storeu_si512(to, words);
    } else {
      _mm512_mask_storeu_epi32(to, lanes, words);
    }
  }
}

}  // namespace

void narrow_rows(int64_t m, int64_t k, const float* source, int64_t stride, Pair* pairs) {
  const int64_t row = pairs_of(k);
  for (int64_t i = 0; i < m; i++, source += stride, pairs += row) {
    if (i + kRowsAhead < m) {
      for (int64_t p = 0; p < k; p += 16) __builtin_prefetch(source + kRowsAhead * stride + p);
    }
    int64_t p = 0;
    for (; p + 32 <= k; p += 32) {
      const __m512 low = _mm512_loadu_ps(source + p), high = _mm512_loadu_ps(source + p + 16);
      _mm512_storeu_si512(pairs + p / 2, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    for (; p < k; p += 32) {
      const int64_t left = k - p;
      const __m512 low = load_lanes(first_lanes(std::min<int64_t>(16, left)), source + p);
      const __m512 high = load_lanes(first_lanes(std::clamp<int64_t>(left - 16, 0, 16)), source + p + 16);
      const __mmask16 words = first_lanes(std::min<int64_t>(16, pairs_of(left)));
      _mm512_mask_storeu_epi32(pairs + p / 2, words, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
  }
}

void narrow_columns(int64_t m, int64_t k, const float* source, int64_t stride, Pair* pairs) {
  for (int64_t p = 0; p < k; p += 2, pairs += m) {
    const float* from = source + p * stride;
    pair_rows(from, p + 1 < k ? from + stride : nullptr, m, false, pairs);
  }
}

void pack_narrow(int64_t k, int64_t n, const float* source, int64_t stride, Pair* packed) {
  const int64_t panel = pairs_of(k) * kPanelColumns;
  for (int64_t p = 0; p < k; p += 2, packed += kPanelColumns) {
    const float* from = source + p * stride;
    if (p + kRowsAhead + 1 < k) {
      for (int64_t j = 0; j < n; j += 16) {
        __builtin_prefetch(from + kRowsAhead * stride + j);
        __builtin_prefetch(from + (kRowsAhead + 1) * stride + j);
      }
    }
    const float* next = p + 1 < k ? from + stride : nullptr;
    Pair* to = packed;
    for (int64_t j = 0; j < n; j += kPanelColumns, to += panel) {
      const int64_t width = std::min(kPanelColumns, n - j);
      pair_rows(from + j, next == nullptr ? nullptr : next + j, width, true, to);
      if (width <= 16) _mm512_storeu_si512(to + 16, _mm512_setzero_si512());
    }
  }
}

void pack_narrow(int64_t k, int64_t n, const Bfloat16* source, int64_t stride, Pair* packed) {
  // Words of the first 16 columns of two rows; `second`: of the next 16.
  alignas(64) static constexpr uint16_t kFirst[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                      8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i first = _mm512_load_si512(kFirst);
  const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
  const int64_t panel = pairs_of(k) * kPanelColumns;
  for (int64_t p = 0; p < k; p += 2, packed += kPanelColumns) {
    const Bfloat16* from = source + p * stride;
    Pair* to = packed;
    for (int64_t j = 0; j < n; j += kPanelColumns, to += panel) {
      const int64_t width = std::min(kPanelColumns, n - j);
      const __mmask32 lanes = width == 32 ? ~__mmask32{0} : (__mmask32{1} << width) - 1;
      const __m512i low = _mm512_maskz_loadu_epi16(lanes, from + j);
      const __m512i high = p + 1 < k ? _mm512_maskz_loadu_epi16(lanes, from + stride + j) : _mm512_setzero_si512();
      _mm512_storeu_si512(to, _mm512_permutex2var_epi16(low, first, high));
      _mm512_storeu_si512(to + 16, _mm512_permutex2var_epi16(low, second, high));
    }
  }
}

void matmul_narrow(int64_t m, int64_t n, int64_t pairs_of_k, Left<Pair> a, Right<Pair> b, float* c, int64_t c_stride,
                   bool accumulate) {
  matmul_tiled<MultiplyPairs, 8>(m, n, pairs_of_k, a, b, c, c_stride, accumulate);
}

}  // namespace rkif
#pragma GCC pop_options
#else
namespace rkif {
namespace {

[[noreturn]] void refuse() { throw std::logic_error("bf16 products on a CPU that has none"); }

}  // namespace

bool multiplies_bfloat16() { return false; }
void narrow_rows(int64_t, int64_t, const float*, int64_t, Pair*) { refuse(); }
void narrow_columns(int64_t, int64_t, const float*, int64_t, Pair*) { refuse(); }
void pack_narrow(int64_t, int64_t, const float*, int64_t, Pair*) { refuse(); }
void pack_narrow(int64_t, int64_t, const Bfloat16*, int64_t, Pair*) { refuse(); }
void matmul_narrow(int64_t, int64_t, int64_t, Left<Pair>, Right<Pair>, float*, int64_t, bool) { refuse(); }

}  // namespace rkif
#endif
