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
  TensorLayout,
  Vector,
} from "../native/contract.js";
import type { AdamW } from "./adamw.js";
import { BatchLoss } from "./batch-loss.js";
import { BestOnDev } from "./best-on-dev.js";
import { initialAdapter } from "./initialize.js";
import type { LearnerOptions } from "./options.js";
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
  abort?: AbortFlag;
  /** Called before every step: saves or stops the run where that is due, by throwing. */
  beforeStep?(): Promise<void>;
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

  async step(request: StepRequest): Promise<StepResult> {
    await this.#parts.beforeStep?.();
    if (request.mayKeep) await this.#bestOnDev?.lookIfDue();

    const loss = await this.#loss.withGradient(request.batch, {
      dropout: this.#dropout(request),
      lossScale: request.lossScale ?? 1,
      ...(request.outputSums ? { outputSums: request.outputSums } : {}),
    });
    const penalty = Number.isFinite(loss) ? await request.penalty?.(this.gradients) : undefined;
    const update = Number.isFinite(loss) ? await this.#update(request) : { gradNorm: NaN, applied: false };
    const result = { loss, ...update, ...(typeof penalty === "number" ? { penalty } : {}) };
    this.#count(request, result);
    await this.#parts.onStep?.(request, result);
    this.#endIfSkipping(result);
    return result;
  }

  async cycle(report: CycleReport): Promise<void> {
    await this.#parts.onCycle?.(report);
  }

  /** After the method: the best parameters on dev, where they are selected so, become the result. */
  async finish(): Promise<void> {
    await this.#bestOnDev?.finish();
  }

  /** Frees the task's vectors. */
  dispose(): void {
    this.#vectors.dispose();
  }

  #dropout({ loop, step }: { loop: number; step: number }): DropoutCounters | null {
    const { task, options, dropout = true } = this.#parts;
    return dropout ? { seed: options.seed, task: task.index, loop, step } : null;
  }

  async #update(request: StepRequest): Promise<Pick<StepResult, "gradNorm" | "applied">> {
    const { model, options, counters } = this.#parts;
    const { learningRate, importance } = request;
    const optimizer = request.optimizer as AdamW;
    const number = (counters.updates[optimizer.name] ?? 0) + 1;
    const { gradNorm, applied } = await optimizer.update(model, {
      ...{ number, learningRate, options },
      ...(importance ? { importance } : {}),
    });
    if (applied) counters.updates[optimizer.name] = number;
    return { gradNorm, applied };
  }

  #count({ batch }: StepRequest, { applied }: StepResult): void {
    const { counters } = this.#parts;
    counters.steps++;
    counters.tokens += countTokens(batch) + this.#tokensSinceStep;
    this.#tokensSinceStep = 0;
    if (applied) counters.skippedInARow = 0;
    else {
      counters.skipped++;
      counters.skippedInARow++;
    }
  }

  #endIfSkipping({ loss, gradNorm }: StepResult): void {
    const { counters } = this.#parts;
    if (counters.skippedInARow < mostSkippedInARow) return;
    counters.skippedInARow = 0; // whoever goes on gets as many tries again
    throw new RkifError(
      "NON_FINITE",
      `task "${this.task.name}": ${mostSkippedInARow} steps in a row had a loss or gradient that is not finite ` +
        `(the last: loss ${loss}, gradient norm ${gradNorm}); nothing was changed by them and the run is kept: ` +
        `begin another run with a lower learning rate, or check the data and the checkpoint`,
    );
  }
}
