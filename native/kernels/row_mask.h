#pragma once
#include <cstdint>

#include "kernels/clones.h"
#include "kernels/dropout.h"

namespace rkif {

// The mask of one row, for loops that vectorise and for the GPU's threads.
struct RowMask {
  DropoutRow key;
  uint32_t threshold;
  float keep_scale;

  RKIF_INLINE float applied(float x, int64_t column) const {
    return dropout_keeps(key, static_cast<uint32_t>(column), threshold) ? x * keep_scale : 0.0f;
  }
};

}  // namespace rkif
