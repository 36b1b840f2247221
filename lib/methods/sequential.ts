import { z } from "zod";
import { defineMethod, type Method } from "./method.js";
import type { Batches, Run } from "./run.js";
import { learningRateAt } from "./schedule.js";

/** Plain training over `batches` from where `run` stands: what every method does for its first task. */
export async function trainPlainly(run: Run, batches: Batches, steps: number = batches.steps): Promise<void> {
  const optimizer = run.optimizer("inner");
  const state = run.state({ step: 0 });
  for (; state.step < steps; state.step++) {
    await run.step({
      batch: batches.at(state.step),
      loop: 0,
      step: state.step,
      optimizer,
      learningRate: learningRateAt(state.step, {
        base: run.learningRate,
        warmupSteps: run.warmupSteps,
        totalSteps: steps,
      }),
      mayKeep: true,
    });
  }
}

/** SeqLoRA: one adapter, trained on one task after another. */
export const sequential: Method = defineMethod({
  name: "sequential",
  summary: "one adapter trained on one task after another, nothing against forgetting (SeqLoRA)",
  options: z.object({}),
  usesMemory: false,
  learn: (run) => trainPlainly(run, run.taskBatches()),
});
