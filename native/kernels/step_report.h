// What a training step finds out on its way, in the memory of the device that computes it: the kernels decide there
// whether anything is updated, and the host reads it when somebody wants to know.
#pragma once
#include <cstdint>

#include "kernels/host_device.h"
#include "kernels/vector_ops.h"

namespace rkif {

struct StepReport {
  double loss_sum = 0;  // of the step's micro-batches so far
  Norm gradient{};      // not clipped
  int64_t updates = 0;  // of the step's optimizer, with this one
  int64_t applied = 0;  // 1; or 0 where the loss or the gradient is not finite, and nothing was changed
};

// Notes in `report` whether the step is applied, and its optimizer's updates: `number` with it, or one more than
// after->updates where there is an `after`, the optimizer's last step. Returns the number of the update.
RKIF_HOST_DEVICE inline int64_t count_update(int64_t number, const StepReport* after, StepReport& report) {
  if (after) number = after->updates + 1;
  // x - x is 0 for finite numbers only.
  report.applied = report.gradient.non_finite == 0 && report.loss_sum - report.loss_sum == 0 ? 1 : 0;
  report.updates = report.applied ? number : number - 1;
  return number;
}

}  // namespace rkif
