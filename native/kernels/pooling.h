// Texts as points on the sphere: the mean of a text's rows, scaled to length 1 (Reimers and Gurevych, arXiv
// 1908.10084).
#pragma once
#include <cstdint>

namespace rkif {

// Text i has the rows starts[i] to starts[i + 1], one at least. `starts` is in the memory that the values are in.
struct PackedTexts {
  int64_t count;
  const int32_t* starts;  // [count + 1]
};

// A mean shorter than this is divided by it instead of by its length.
inline constexpr float kShortestMean = 1e-12f;

// states: [rows, columns] -> out: [count, columns], contiguous fp32. lengths: of every mean; null: not wanted.
void mean_unit_vectors(const PackedTexts& texts, int64_t columns, const float* states, float* out, float* lengths);
// The gradient g of `out` becomes that of every row. With e the unit vector and m the length of the mean of n rows:
// each row gets (g - e * (e . g)) / (m * n).
void mean_unit_vectors_gradient(const PackedTexts& texts, int64_t columns, const float* out, const float* lengths,
                                const float* g, float* dstates);

}  // namespace rkif
