import type { Json } from "../methods/run.js";
import type { Vector } from "../native/contract.js";

/** Counters of a task's training that are saved with the run. */
export interface TaskCounters {
  [key: string]: Json;
  /** The method's own. */
  method: { [key: string]: Json } | null;
  /** Updates made by each optimizer. */
  updates: { [optimizer: string]: number };
  /** Optimizer steps asked for, over all loops. */
  steps: number;
  /** Tokens, inputs and labels, that gradients were computed on. */
  tokens: number;
  skipped: number;
  skippedInARow: number;
  /** Least dev loss so far, and the steps made when dev was last looked at. */
  bestDevLoss: number | null;
  devLookedAt: number;
}

export const newTaskCounters = (): TaskCounters => ({
  method: null,
  updates: {},
  steps: 0,
  tokens: 0,
  skipped: 0,
  skippedInARow: 0,
  bestDevLoss: null,
  devLookedAt: 0,
});

/** What a method keeps over tasks. */
export interface KeptValues {
  readonly vectors: Map<string, Vector>;
  state: { [key: string]: Json } | null;
}
