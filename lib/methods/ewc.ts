import { z } from "zod";
import { RkifError } from "../errors.js";
import { elementCount } from "../models/element-count.js";
import { createVector } from "../models/kernels.js";
import { defineMethod, type Method } from "./method.js";
import { trainPlainly } from "./sequential.js";

const options = z.object({
  ewcStrength: z.number().nonnegative().default(1e3).describe("weight of the penalty (lambda)"),
  fisherDecay: z
    .number()
    .min(0)
    .max(1)
    .default(0.95)
    .describe("what is left of the earlier tasks' Fisher information when a task adds its own (gamma)"),
  fisherRecords: z
    .number()
    .int()
    .positive()
    .nullable()
    .default(null)
    .describe(
      "training records, evenly spread, that a task's Fisher information is the mean over; null: all",
    ),
});

/**
 * Online EWC (Kirkpatrick et al., arXiv 1612.00796; Schwarz et al., arXiv 1805.06370): the loss has (lambda / 2) sum F (theta - anchor)^2
 * added, with F the diagonal of the empirical Fisher information: the mean over records of the squared gradient, labels from the data,
 * without dropout.
 */
export const ewc: Method<typeof options.shape> = defineMethod({
  name: "ewc",
  summary: "weights that mattered to earlier tasks are held near their values (online EWC)",
  options,
  usesMemory: false,
  async learn(run, { ewcStrength }) {
    if (run.task.index === 0) return trainPlainly(run, run.taskBatches());
    const fisher = run.keptVector("fisher");
    const anchor = run.keptVector("anchor");
    const moved = run.vector("moved");
    // sum F d^2 is the squared norm of sqrt(F) d. Neither vector needs to be saved: both are made of what is.
    const root = createVector(fisher.length, fisher);
    const weighed = createVector(fisher.length, fisher);
    try {
      for (const tensor of run.tensors) {
        const values = await fisher.read(tensor.offset, elementCount(tensor));
        root.set(values.map(Math.sqrt), tensor.offset);
      }
      await trainPlainly(run, run.taskBatches(), {
        async penalty(gradients) {
          moved.setDifference(run.parameters, anchor);
          gradients.addProduct(fisher, moved, ewcStrength);
          weighed.fill(0);
          weighed.addProduct(root, moved, 1);
          return (ewcStrength / 2) * (await weighed.norm()).norm ** 2;
        },
      });
    } finally {
      root.dispose();
      weighed.dispose();
    }
  },
  async consolidate(run, { fisherDecay, fisherRecords }) {
    const all = run.taskRecords;
    const count = Math.min(fisherRecords ?? all.length, all.length);
    const squares = run.vector("squares");
    squares.fill(0);
    for (let i = 0; i < count; i++) {
      await run.gradientOf([all[Math.floor((i * all.length) / count)]!]);
      squares.addProduct(run.gradients, run.gradients, 1 / count);
    }
    const { nonFinite } = await squares.norm();
    if (nonFinite > 0) {
      throw new RkifError(
        "NON_FINITE",
        `task "${run.task.name}": the gradients of its ${count} records are not finite in ${nonFinite} places, so that EWC has no Fisher ` +
          "information of them; begin another run with a lower learning rate, or check the data and the checkpoint",
      );
    }
    const fisher = run.keptVector("fisher");
    fisher.scale(fisherDecay);
    fisher.addScaled(squares, 1);
    run.keptVector("anchor").copyFrom(run.parameters);
  },
});
