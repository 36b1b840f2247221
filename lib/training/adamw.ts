import type { Optimizer, StepRequest } from "../methods/run.js";
import { adamwStep } from "../models/kernels.js";
import type { Model, StepSlot, Vector } from "../native/contract.js";
import type { LearnerOptions } from "./options.js";

export interface AdamWUpdate extends Pick<StepRequest, "learningRate" | "importance"> {
  /** Number of this update, from 1, for the bias correction, unless `into` says after which step it is counted. */
  number: number;
  options: Pick<LearnerOptions, "weightDecay" | "maxGradNorm">;
  into: StepSlot & { after?: number };
}

/** AdamW with moments of its own. */
export class AdamW implements Optimizer {
  constructor(
    readonly name: string,
    readonly m: Vector,
    readonly v: Vector,
  ) {}

  /** Updates parameters from gradients, and in the same pass the averages of importance, unless loss or gradient are not finite. */
  update(
    { parameters, gradients }: Pick<Model, "parameters" | "gradients">,
    { number, learningRate, importance, options, into }: AdamWUpdate,
  ): void {
    adamwStep(
      { parameters, gradients, m: this.m, v: this.v },
      {
        learningRate,
        update: number,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weightDecay: options.weightDecay,
        maxGradNorm: options.maxGradNorm,
        into,
        ...(importance ? { importance: averagesOf(importance) } : {}),
      },
    );
  }
}

function averagesOf({
  into: { importance, uncertainty, options },
  reads,
}: NonNullable<StepRequest["importance"]>): NonNullable<Parameters<typeof adamwStep>[1]["importance"]> {
  const { importanceDecay, uncertaintyDecay, mask } = options;
  return {
    ...{ importance, uncertainty, importanceDecay, uncertaintyDecay, reads },
    ...(mask ? { mask } : {}),
  };
}
