import { z } from "zod";
import { defineMethod, type Method } from "./method.js";
import type { Batches, Run, StepRequest } from "./run.js";
import { learningRateAt } from "./schedule.js";

export interface PlainTraining extends Pick<StepRequest, "penalty" | "outputSums" | "importance"> {
  /** Default: those of the batches. */
  steps?: number;
  /** false: the learning rate stays where the warm-up ends. Default true: down to 0 at the last step. */
  rateDecays?: boolean;
}

/** Plain training over `batches` from where `run` stands: what every method does for its first task. */
export async function trainPlainly(
  run: Run,
  batches: Batches,
  { steps = batches.steps, rateDecays = true, ...request }: PlainTraining = {},
): Promise<void> {
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
        totalSteps: rateDecays ? steps : Infinity,
      }),
      mayKeep: true,
      ...request,
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
