/** Training steps on the contract's primitives, in the order that the fixtures' README fixes. */
import type { Addon, Model, PackedBatch, StepReport, Vector } from "../../lib/native/contract.js";
import { labelTokens } from "./batches.js";
import type { Family } from "./families.js";

/** Linear warm-up from 0 over `warmup` steps, then constant or falling linearly to 0 at `total`. */
export interface Schedule {
  base: number;
  warmup: number;
  decay: "linear" | "constant";
  total: number;
}

export function learningRate({ base, warmup, decay, total }: Schedule, step: number): number {
  if (step < warmup) return (base * step) / warmup;
  return decay === "constant" ? base : base * Math.max(0, (total - step) / (total - warmup));
}

/** What is kept between the steps of one optimizer. */
export interface Optimizer {
  readonly m: Vector;
  readonly v: Vector;
  updates: number;
}

export function createOptimizer(addon: Addon, parameters: Vector): Optimizer {
  const moment = (): Vector => addon.createVector(parameters.length, parameters);
  return { m: moment(), v: moment(), updates: 0 };
}

export interface Gradient {
  loss: number;
}

/** Gradients of the batch's mean loss, in place of what was there. */
export async function gradient(model: Model, batch: PackedBatch, family: Family): Promise<Gradient> {
  const divisor = labelTokens(batch, family);
  model.gradients.fill(0);
  const { lossSum } = await model.accumulate(batch, { divisor, lossScale: 1, dropout: null });
  return { loss: lossSum / divisor };
}

export interface UpdateSettings {
  learningRate: number;
  betas: readonly [number, number];
  epsilon: number;
  weightDecay: number;
  maxGradNorm: number;
}

/** One AdamW update with clipping; with `importance`, its averages in the same pass. */
export function update(
  addon: Addon,
  model: Model,
  optimizer: Optimizer,
  settings: UpdateSettings,
  importance?: Parameters<Addon["adamwStep"]>[1]["importance"],
): Promise<StepReport> {
  optimizer.updates++;
  return addon.adamwStep(
    { parameters: model.parameters, gradients: model.gradients, m: optimizer.m, v: optimizer.v },
    {
      learningRate: settings.learningRate,
      update: optimizer.updates,
      beta1: settings.betas[0],
      beta2: settings.betas[1],
      epsilon: settings.epsilon,
      weightDecay: settings.weightDecay,
      maxGradNorm: settings.maxGradNorm,
      ...(importance === undefined ? {} : { importance }),
    },
  );
}
