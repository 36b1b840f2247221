import { z } from "zod";
import { defineMethod, type Method } from "./method.js";
import { trainPlainly } from "./sequential.js";

const options = z.object({
  overlapWeight: z
    .number()
    .nonnegative()
    .default(100)
    .describe(
      "weight of the squared overlap of a task's change of the weights with the earlier tasks' (lambda)",
    ),
});

/**
 * ELLA (arXiv 2601.02232): every task gets a new adapter, those of the earlier tasks being part of the base; where the earlier ones moved
 * a weight much, moving it again is penalised: lambda * ||dW * W_past||^2, entry by entry, W_past the sum of the earlier dW.
 */
export const ella: Method<typeof options.shape> = defineMethod({
  name: "ella",
  summary: "a new adapter for every task, held off the weights that the earlier ones moved (ELLA)",
  options,
  usesMemory: false,
  needsAdapter: true,
  learn(run, { overlapWeight }) {
    if (run.task.index === 0) return trainPlainly(run, run.taskBatches());
    // An interrupted task finds what it froze when it began.
    if (run.frozenAdapters < run.task.index) run.freezeAdapter();
    return trainPlainly(run, run.taskBatches(), { penalty: () => run.addOverlapGradient(overlapWeight) });
  },
});
