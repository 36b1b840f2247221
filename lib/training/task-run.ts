import { RkifError } from "../errors.js";
import { countTokens } from "../data/pack.js";
import type {
  Batches,
  CycleReport,
  Importance,
  Json,
  Run,
  StepRequest,
  StepResult,
  TrainingRecord,
} from "../methods/run.js";
import type {
  AbortFlag,
  DropoutCounters,
  ImportanceOptions,
  Model,
  OrthogonalityOptions,
  PackedBatch,
  StepSlot,
  TensorLayout,
  Vector,
} from "../native/contract.js";
import type { AdamW } from "./adamw.js";
import { BatchLoss } from "./batch-loss.js";
import { BestOnDev } from "./best-on-dev.js";
import { initialAdapter } from "./initialize.js";
import type { LearnerOptions } from "./options.js";
import { PendingSteps } from "./pending-steps.js";
import type { KeptValues, TaskCounters } from "./task-state.js";
import { TaskVectors, vectorOf, type SavedVectors } from "./task-vectors.js";

/** Non-finite steps in a row that end a run. */
const mostSkippedInARow = 20;

/** What a task's run is made of. Data comes as functions, so that a test can train on recorded batches. */
export interface TaskRunParts {
  task: { index: number; name: string };
  options: Pick<
    LearnerOptions,
    | "seed"
    | "learningRate"
    | "warmupSteps"
    | "weightDecay"
    | "maxGradNorm"
    | "microBatchSize"
    | "selectBestOnDev"
    | "devEvery"
  >;
  model: Model;
  /** Lays records end to end as the model takes them. Default: as T5 and decoders do. */
  pack?: (records: readonly TrainingRecord[]) => PackedBatch;
  /** Default: none, for runs on recorded batches. */
  taskRecords?: readonly TrainingRecord[];
  memorySize: number;
  taskBatches(options: { loop: number; withMemory: boolean }): Batches;
  memoryBatches(options: { loop: number }): Batches;
  /** Dev records of all tasks seen; none: parameters are not selected on dev. */
  devRecords: readonly TrainingRecord[];
  counters: TaskCounters;
  /** What earlier tasks' runs kept; filled by this one. Default: nothing. */
  kept?: KeptValues;
  /** Vectors of an interrupted run to go on with. */
  saved?: SavedVectors;
  /** false: no dropout at all (recorded runs). Default true. */
  dropout?: boolean;
  /** Steps whose results are read from the device together. Default: on the CPU 1, on a GPU those of a cycle. */
  readEvery?: number;
  abort?: AbortFlag;
  /** Called before every step: saves or stops the run where that is due, by throwing. */
  beforeStep?(): Promise<void>;
  /** Called for every step in their order, once its result has been read from the device. */
  onStep?(request: StepRequest, result: StepResult): Promise<void> | void;
  onCycle?(report: CycleReport): Promise<void> | void;
}

/**
 * One task's training: what {@link Run} promises to methods. What a step is made of, in which order, and what is
 * counted; loss, optimizers, vectors and the choice on dev are each a class of their own.
 */
export class TaskRun implements Run {
  readonly task: { readonly index: number; readonly name: string };
  readonly learningRate: number;
  readonly warmupSteps: number;
  readonly memorySize: number;
  readonly parameters: Vector;
  readonly gradients: Vector;
  readonly tensors: readonly TensorLayout[];
  readonly taskRecords: readonly TrainingRecord[];
  readonly #parts: TaskRunParts;
  readonly #kept: KeptValues;
  readonly #loss: BatchLoss;
  readonly #bestOnDev: BestOnDev | undefined;
  readonly #vectors: TaskVectors;
  readonly #pending: PendingSteps;
  /** The step with which too many in a row were skipped. */
  #tooManySkipped: StepResult | undefined;
  // Not among the counters until a step follows: gradients between two steps are computed anew after an interruption.
  #tokensSinceStep = 0;

  constructor(parts: TaskRunParts) {
    this.#parts = parts;
    this.task = parts.task;
    this.learningRate = parts.options.learningRate;
    this.warmupSteps = parts.options.warmupSteps;
    this.memorySize = parts.memorySize;
    this.parameters = parts.model.parameters;
    // Saved before tokens were counted.
    parts.counters.tokens ??= 0;
    this.gradients = parts.model.gradients;
    this.tensors = parts.model.layout;
    this.taskRecords = parts.taskRecords ?? [];
    this.#kept = parts.kept ?? { vectors: new Map(), state: null };
    const { model, options, devRecords, counters } = parts;
    this.#loss = new BatchLoss(model, {
      microBatchSize: options.microBatchSize,
      ...(parts.pack ? { pack: parts.pack } : {}),
      ...(parts.abort ? { abort: parts.abort } : {}),
    });
    if (options.selectBestOnDev && devRecords.length > 0) {
      this.#bestOnDev = new BestOnDev({
        ...{ records: devRecords, every: options.devEvery, loss: this.#loss, counters },
        parameters: this.parameters,
        best: () => this.vector("best"),
      });
    }
    this.#vectors = new TaskVectors(this.parameters, parts.saved);
    this.#pending = new PendingSteps(this.parameters, parts.readEvery);
  }

  /** Tokens, inputs and labels, that gradients were computed on. */
  get tokens(): number {
    return this.#parts.counters.tokens + this.#tokensSinceStep;
  }

  /** Named vectors to save: the method's, the optimizers' and the best parameters so far. */
  get vectors(): ReadonlyMap<string, Vector> {
    return this.#vectors.all;
  }

  taskBatches({ loop = 0, withMemory = false }: { loop?: number; withMemory?: boolean } = {}): Batches {
    return this.#parts.taskBatches({ loop, withMemory });
  }

  memoryBatches(options: { loop: number }): Batches {
    return this.#parts.memoryBatches(options);
  }

  state<T extends { [key: string]: Json }>(initial: T): T {
    const { counters } = this.#parts;
    counters.method ??= initial;
    return counters.method as T;
  }

  vector(name: string): Vector {
    return this.#vectors.vector(name);
  }

  keptVector(name: string): Vector {
    return vectorOf(this.#kept.vectors, name, this.parameters);
  }

  keptState<T extends { [key: string]: Json }>(initial: T): T {
    this.#kept.state ??= initial;
    return this.#kept.state as T;
  }

  optimizer(name: string): AdamW {
    return this.#vectors.optimizer(name);
  }

  importance(name: string, options: ImportanceOptions): Importance {
    return this.#vectors.importance(name, options);
  }

  get frozenAdapters(): number {
    return this.#parts.model.frozenAdapters;
  }

  freezeAdapter(): void {
    const { model, options, task } = this.#parts;
    model.freezeAdapter();
    this.parameters.set(initialAdapter(model.layout, options.seed, task.index));
  }

  addOrthogonalityGradient(options: OrthogonalityOptions): Promise<number> {
    return this.#parts.model.addOrthogonalityGradient(options);
  }

  addOverlapGradient(weight: number): Promise<number> {
    return this.#parts.model.addOverlapGradient(weight);
  }

  gradientOf(batch: readonly TrainingRecord[], dropout?: { loop: number; step: number }): Promise<number> {
    this.#tokensSinceStep += countTokens(batch);
    return this.#loss.withGradient(batch, { dropout: dropout ? this.#dropout(dropout) : null });
  }

  lossOf(batch: readonly TrainingRecord[]): Promise<number> {
    return this.#loss.of(batch);
  }

  async step(request: StepRequest): Promise<void> {
    this.#endIfSkipping();
    await this.#parts.beforeStep?.();
    if (request.mayKeep) await this.#bestOnDev?.lookIfDue();

    const into = this.#pending.slot;
    const options = {
      dropout: this.#dropout(request),
      lossScale: request.lossScale ?? 1,
      ...(request.outputSums ? { outputSums: request.outputSums } : {}),
    };
    await this.#loss.gradient(request.batch, options, into);
    const penalty = await request.penalty?.(this.gradients);
    this.#update(request, into);
    this.#pending.add({ request, ...(typeof penalty === "number" ? { penalty } : {}) });
    this.#count(request);
    if (this.#pending.full) await this.settle();
  }

  /** Counts and tells what the steps so far came to; a run is saved after that. */
  async settle(): Promise<void> {
    const finished = await this.#pending.take();
    // All of them are counted before anybody is told, who may throw.
    for (const { request, result, updates } of finished) this.#countResult(request, result, updates);
    for (const { request, result } of finished) await this.#parts.onStep?.(request, result);
  }

  async cycle(report: CycleReport): Promise<void> {
    await this.settle();
    await this.#parts.onCycle?.(report);
  }

  /** After the method: the best parameters on dev, where they are selected so, become the result. */
  async finish(): Promise<void> {
    await this.settle();
    this.#endIfSkipping();
    await this.#bestOnDev?.finish();
  }

  /** Frees the task's vectors. */
  dispose(): void {
    this.#pending.dispose();
    this.#vectors.dispose();
  }

  #dropout({ loop, step }: { loop: number; step: number }): DropoutCounters | null {
    const { task, options, dropout = true } = this.#parts;
    return dropout ? { seed: options.seed, task: task.index, loop, step } : null;
  }

  #update({ learningRate, importance, optimizer }: StepRequest, into: StepSlot): void {
    const { model, options, counters } = this.#parts;
    const after = this.#pending.lastOf(optimizer.name);
    (optimizer as AdamW).update(model, {
      ...{ number: (counters.updates[optimizer.name] ?? 0) + 1, learningRate, options },
      into: { ...into, ...(after === undefined ? {} : { after }) },
      ...(importance ? { importance } : {}),
    });
  }

  #count({ batch }: StepRequest): void {
    const { counters } = this.#parts;
    counters.steps++;
    counters.tokens += countTokens(batch) + this.#tokensSinceStep;
    this.#tokensSinceStep = 0;
  }

  #countResult({ optimizer }: StepRequest, result: StepResult, updates: number): void {
    const { counters } = this.#parts;
    counters.updates[optimizer.name] = updates;
    if (result.applied) {
      counters.skippedInARow = 0;
      return;
    }
    counters.skipped++;
    counters.skippedInARow++;
    // Steps that were under way already count for nothing.
    if (counters.skippedInARow >= mostSkippedInARow) this.#tooManySkipped ??= result;
  }

  /** Between steps only, where the run can be saved: never while a method thinks that its step is still to be done. */
  #endIfSkipping(): void {
    const { counters } = this.#parts;
    if (this.#tooManySkipped === undefined) return;
    const { loss, gradNorm } = this.#tooManySkipped;
    counters.skippedInARow = 0; // whoever goes on gets as many tries again
    this.#tooManySkipped = undefined;
    throw new RkifError(
      "NON_FINITE",
      `task "${this.task.name}": ${mostSkippedInARow} steps in a row had a loss or gradient that is not finite ` +
        `(the last: loss ${loss}, gradient norm ${gradNorm}); nothing was changed by them and the run is kept: ` +
        `begin another run with a lower learning rate, or check the data and the checkpoint`,
    );
  }
}
