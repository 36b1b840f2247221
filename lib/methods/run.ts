import type {
  ImportanceOptions,
  ImportanceVectors,
  Mask,
  OrthogonalityOptions,
  TensorLayout,
  Vector,
} from "../native/contract.js";

/** What a method may keep beside vectors. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A tokenized record; `key` tells it apart from the others of its set, for dropout. */
export interface TrainingRecord {
  readonly inputIds: Int32Array;
  readonly labels: Int32Array;
  readonly key: number;
}

/** Batches as a function of the step. */
export interface Batches {
  /** Planned steps; Infinity where there is no end. */
  readonly steps: number;
  at(step: number): readonly TrainingRecord[];
}

/** AdamW with moments of its own, saved with the run. */
export interface Optimizer {
  readonly name: string;
}

/** Moving averages of importance and uncertainty, saved with the run. */
export interface Importance extends ImportanceVectors {
  readonly options: ImportanceOptions;
  /** Both averages back to 0. */
  reset(): void;
  /** A new vector, importance * uncertainty: the caller disposes it. */
  score(): Vector;
}

export interface StepRequest {
  batch: readonly TrainingRecord[];
  /** Number of the loop within the method, and of the step within the loop: what dropout is a function of. */
  loop: number;
  step: number;
  optimizer: Optimizer;
  learningRate: number;
  /** Multiplies the loss before the backward pass. Default 1. */
  lossScale?: number;
  /** Averages to update from the clipped gradient, and whether they read the weight before or after the update. */
  importance?: { into: Importance; reads: "before" | "after" };
  /**
   * Called when the batch's gradient is in `run.gradients`, before clipping: a penalty adds its own gradient there. Returns the
   * penalty's value where that is to be logged. Called as well where loss or gradient are not finite: the step is then skipped.
   */
  penalty?: (gradients: Vector) => Promise<number | void> | number | void;
  /**
   * Written by the step before `penalty` is called: for every row of the adapter's tensors, in the order of `run.tensors`, the sum over
   * the batch's tokens of that output's absolute value.
   */
  outputSums?: Vector;
  /** The parameters before this step may be kept as the best on dev. */
  mayKeep?: boolean;
}

export interface StepResult {
  /** Mean cross entropy over label tokens, before the update and without `lossScale`. */
  loss: number;
  /** Before clipping. */
  gradNorm: number;
  /** False where loss or gradient was not finite: then nothing was changed. */
  applied: boolean;
  /** Value of the step's penalty, where it returned one. */
  penalty?: number;
}

/** How a cycle's task vectors became parameters, with one weight each: start + weightIn * tauIn + weightOut * tauOut. */
export interface Merge {
  /** Steps on the task's own records so far. */
  step: number;
  weightIn: number;
  weightOut: number;
  /** Steps that the cycle was planned to have on the task's records, and had on the memory. */
  interval: number;
}

/** What one loop of a cycle measured. */
export interface LoopImportance extends ImportanceVectors {
  score: Vector;
}

/** What happened in one cycle of a recurrent method. Vectors and masks are only valid during the call. */
export interface CycleReport {
  cycle: number;
  /** Cycles planned in the task, where the method knows. */
  cycles?: number;
  fused: boolean;
  onlyIn?: number;
  onlyOut?: number;
  both?: number;
  neither?: number;
  /** Of methods that weigh task vectors as a whole. */
  merge?: Merge;
  vectors: { start: Vector; tauIn: Vector; tauOut: Vector };
  /** Of methods that measure importance. */
  importance?: { in: LoopImportance; out: LoopImportance };
  masks?: { in: Mask; out: Mask };
}

/** What a method sees of a run while it learns one task. */
export interface Run {
  /** Position in the order, from 0, and name. */
  readonly task: { readonly index: number; readonly name: string };
  readonly learningRate: number;
  readonly warmupSteps: number;
  /** Records kept of earlier tasks. */
  readonly memorySize: number;
  /** The trainable parameters. */
  readonly parameters: Vector;
  /** Gradient of the last batch, not clipped; a method may change it in a step's `penalty`. */
  readonly gradients: Vector;
  /** The tensors that the flat vector is made of. */
  readonly tensors: readonly TensorLayout[];
  /** The task's own training records, in their order. */
  readonly taskRecords: readonly TrainingRecord[];

  /** The task's records in shuffled epochs; with `withMemory`, all memory records are shuffled among them. */
  taskBatches(options?: { loop?: number; withMemory?: boolean }): Batches;
  /** Batches of distinct memory records, drawn anew at every step. */
  memoryBatches(options: { loop: number }): Batches;

  /** Counters that are saved with the run; call it once. After an interruption it returns what was saved. */
  state<T extends { [key: string]: Json }>(initial: T): T;
  /** A vector of zeros, of the parameters' length, saved with the run under this name. */
  vector(name: string): Vector;
  /** As {@link vector}, but it outlives the task: the next task's run has it under the same name. */
  keptVector(name: string): Vector;
  /** As {@link state}, for what outlives the task; later calls return what is there. */
  keptState<T extends { [key: string]: Json }>(initial: T): T;
  optimizer(name: string): Optimizer;
  importance(name: string, options: ImportanceOptions): Importance;

  /** Adapters frozen so far; saved with the run. */
  readonly frozenAdapters: number;
  /**
   * Freezes the adapter as it is, beside those frozen before, which all stay part of the model, and puts a fresh one in its place: A
   * random by seed and task, B zero.
   */
  freezeAdapter(): void;
  /** Adds a penalty's gradient to `gradients`: what keeps the adapter's A apart from the frozen ones. Returns its value. */
  addOrthogonalityGradient(options: OrthogonalityOptions): Promise<number>;
  /** The same of weight * ||W * F||^2, W the adapter's part of a layer's weight and F that of all frozen ones. */
  addOverlapGradient(weight: number): Promise<number>;

  /**
   * Gradient of a batch's mean loss into `gradients`, without an update; no dropout unless `dropout` names what it is a function of.
   * Returns the loss. Like {@link step} a point where a run may be stopped, but not saved: what is summed from such gradients between two
   * steps is begun anew.
   */
  gradientOf(batch: readonly TrainingRecord[], dropout?: { loop: number; step: number }): Promise<number>;
  /** Mean loss of a batch at the parameters as they are: no dropout, no gradient. */
  lossOf(batch: readonly TrainingRecord[]): Promise<number>;

  /**
   * One optimizer step. The only point where a run is saved or stopped: before anything of the step is done. On a GPU it is under way when
   * the promise resolves: what it came to is logged later, at the latest with the cycle.
   */
  step(request: StepRequest): Promise<void>;
  /** Reports a finished cycle. */
  cycle(report: CycleReport): Promise<void>;
}
