// Rotary position embedding of packed rows (Su et al., arXiv 2104.09864), in the layout of the Hugging Face
// checkpoints: element i of a head is rotated with element i + head_size / 2.
#pragma once
#include <cstdint>

namespace rkif {

// out[r, h, i]        = x[r, h, i] * c - x[r, h, i + half] * s
// out[r, h, i + half] = x[r, h, i + half] * c + x[r, h, i] * s
// with c, s = cosine and sine [position of row r, i]. x and out: [rows, heads * head_size] fp32, contiguous; may be the
// same. `inverse`: the rotation back, which is also the backward pass.
void rotate_rows(int64_t rows, int64_t heads, int64_t head_size, const float* x, const int32_t* positions,
                 const float* cosine, const float* sine, bool inverse, float* out);

}  // namespace rkif
