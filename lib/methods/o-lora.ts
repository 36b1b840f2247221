import { z } from "zod";
import { defineMethod, type Method } from "./method.js";
import { trainPlainly } from "./sequential.js";

const weights = z.array(z.number().nonnegative()).min(1);

const options = z.object({
  orthogonalWeights: weights
    .default([0.5])
    .describe("weight of the overlap with earlier adapters (lambda 1), one a task; the last holds onward"),
  orthogonalForm: z
    .enum(["squared", "absolute"])
    .default("squared")
    .describe(
      "overlap is the sum of the squares, or of the absolute values, of the entries of A_earlier A^T",
    ),
  adapterNormWeights: weights
    .default([0])
    .describe("weight of the sum of the norms of A and B (lambda 2), one a task; the last holds onward"),
  rateDecays: z
    .boolean()
    .default(true)
    .describe("the learning rate falls to 0 after the warm-up; without: constant"),
});

const authors = {
  learningRate: 1e-3,
  warmupSteps: 0,
  rateDecays: false,
  loraDropout: 0.1,
  epochs: 1,
  orthogonalForm: "absolute",
};

/**
 * O-LoRA (arXiv 2310.14152): every task gets an adapter of its own beside those of the earlier tasks, which are frozen; a penalty keeps
 * its A orthogonal to theirs. The paper squares the entries of A_earlier A^T, the published code takes their absolute values.
 */
export const oLora: Method<typeof options.shape> = defineMethod({
  name: "o-lora",
  summary: "a new adapter for every task beside the earlier ones, its A kept orthogonal to theirs (O-LoRA)",
  options,
  presets: {
    authors: { ...authors, orthogonalWeights: [0.5] },
    // Order by order the script's values for the 15 tasks; it also trains MNLI for 2 epochs, for which there is no option here.
    "authors-long": {
      ...authors,
      orthogonalWeights: [0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 5],
      adapterNormWeights: [0, 0, 0, 0, 0.1, 0.1, 0.3, 0, 0.1, 0, 0, 0.1, 0, 0.1, 0.3],
    },
  },
  usesMemory: false,
  needsAdapter: true,
  learn(run, o) {
    const { index } = run.task;
    // An interrupted task finds what it froze when it began.
    if (run.frozenAdapters < index) run.freezeAdapter();
    const penalty = {
      l1: weightOf(o.orthogonalWeights, index),
      l2: weightOf(o.adapterNormWeights, index),
      form: o.orthogonalForm,
    };
    return trainPlainly(run, run.taskBatches(), {
      rateDecays: o.rateDecays,
      penalty: () => run.addOrthogonalityGradient(penalty),
    });
  },
});

function weightOf(weights: readonly number[], task: number): number {
  return weights[Math.min(task, weights.length - 1)]!;
}
