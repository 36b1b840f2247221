// From a type known at run time to the kernels' templates.
#pragma once
#include "kernels/kernels.h"

namespace rkif {

// Calls pass(pointer of the stored type) for a type known at run time.
template <class Pass>
void in_stored_type(Stored type, const Pass& pass) {
  if (type == Stored::kBfloat16) {
    pass(static_cast<Bfloat16*>(nullptr));
  } else {
    pass(static_cast<float*>(nullptr));
  }
}

}  // namespace rkif
