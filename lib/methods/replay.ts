import { z } from "zod";
import { defineMethod, type Method } from "./method.js";
import { trainPlainly } from "./sequential.js";

const options = z.object({
  stepRatio: z
    .number()
    .positive()
    .nullable()
    .default(null)
    .describe(
      "optimizer steps per step that the task's own records would take, from the second task on; null: as many as its epochs over task and memory take",
    ),
});

/** MixReplay: each task's epochs run over its records and the memory, shuffled together. */
export const replay: Method<typeof options.shape> = defineMethod({
  name: "replay",
  summary: "memory records shuffled among the task's records (MixReplay)",
  options,
  usesMemory: true,
  async learn(run, { stepRatio }) {
    const batches = run.taskBatches({ withMemory: true });
    if (stepRatio === null || run.memorySize === 0) return trainPlainly(run, batches);
    await trainPlainly(run, batches, { steps: Math.round(stepRatio * run.taskBatches().steps) });
  },
});
