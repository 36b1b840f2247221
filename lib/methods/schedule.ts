/** Linear warm-up from 0, then linear decay to 0. */
export interface Schedule {
  /** Rate at the end of the warm-up. */
  base: number;
  warmupSteps: number;
  /** Step at which the rate reaches 0; Infinity or absent: constant after the warm-up. */
  totalSteps?: number;
}

/**
 * Learning rate of step 0, 1, ...: `base * step / warmupSteps` while step < warmupSteps (the first step has rate 0), then
 * `base * max(0, (totalSteps - step) / (totalSteps - warmupSteps))`, as transformers' `get_linear_schedule_with_warmup`.
 */
export function learningRateAt(step: number, { base, warmupSteps, totalSteps = Infinity }: Schedule): number {
  if (step < warmupSteps) return (base * step) / warmupSteps;
  if (totalSteps === Infinity) return base;
  return base * Math.max(0, (totalSteps - step) / Math.max(1, totalSteps - warmupSteps));
}
