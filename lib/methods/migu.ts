import { z } from "zod";
import { createVector, maskRows } from "../models/kernels.js";
import { defineMethod, type Method } from "./method.js";
import { trainPlainly } from "./sequential.js";

const options = z.object({
  maskQuantile: z
    .number()
    .min(0)
    .max(1)
    .default(0.7)
    .describe("outputs of a layer below this quantile of its outputs are left alone"),
});

/**
 * MIGU (arXiv 2406.17245): from the second task on, a step changes the rows of A and B alone whose outputs were large over its tokens.
 * Other rows' gradients are zero, before the optimizer sees them.
 */
export const migu: Method<typeof options.shape> = defineMethod({
  name: "migu",
  summary: "a step updates only the outputs of a layer that are large on its tokens (MIGU)",
  options,
  presets: { authors: { learningRate: 1e-4, epochs: 1 } },
  usesMemory: false,
  needsAdapter: true,
  async learn(run, { maskQuantile }) {
    const { tensors } = run;
    if (run.task.index === 0) return trainPlainly(run, run.taskBatches());
    const outputSums = createVector(
      tensors.reduce((rows, { shape }) => rows + shape[0]!, 0),
      run.parameters,
    );
    try {
      await trainPlainly(run, run.taskBatches(), {
        outputSums,
        penalty: (gradients) => maskRows(gradients, outputSums, tensors, maskQuantile),
      });
    } finally {
      outputSums.dispose();
    }
  },
});
