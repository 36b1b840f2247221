// What holds for the generation of every family.
#pragma once
#include "models/model.h"

namespace rkif::test {

// Prompts of very different lengths whose answers end in different steps get the tokens that each gets alone, greedy
// and drawn, whether or not they begin alike, however few of them are computed at a time; listeners are told them in
// order; a raised flag stops it.
void check_budgets(Model& model, int32_t vocabulary);

}  // namespace rkif::test
