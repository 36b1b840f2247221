import { RkifError } from "../errors.js";
import { countLabelTokens, countTokens, pack, splitIntoMicroBatches } from "../data/pack.js";
import type {
  Batches,
  CycleReport,
  Importance,
  Json,
  Optimizer,
  Run,
  StepRequest,
  StepResult,
  TrainingRecord,
} from "../methods/run.js";
import { adamwStep, createVector, score } from "../models/kernels.js";
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
import { initialAdapter } from "./initialize.js";
import type { LearnerOptions } from "./options.js";

/** Non-finite steps in a row that end a run. */
const mostSkippedInARow = 20;

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
  pack?(records: readonly TrainingRecord[]): PackedBatch;
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
  saved?: { names: readonly string[]; readInto(name: string, vector: Vector): void };
  /** false: no dropout at all (recorded runs). Default true. */
  dropout?: boolean;
  abort?: AbortFlag;
  /** Called before every step: saves or stops the run where that is due, by throwing. */
  beforeStep?(): Promise<void>;
  onStep?(request: StepRequest, result: StepResult): Promise<void> | void;
  onCycle?(report: CycleReport): Promise<void> | void;
}

class AdamW implements Optimizer {
  constructor(
    readonly name: string,
    readonly m: Vector,
    readonly v: Vector,
  ) {}
}

/** One task's training: what {@link Run} promises to methods. */
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
  readonly #vectors = new Map<string, Vector>();
  // Not among the counters until a step follows: gradients between two steps are computed anew after an interruption.
  #tokensSinceStep = 0;
  readonly #optimizers = new Map<string, AdamW>();

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
    for (const name of parts.saved?.names ?? []) parts.saved?.readInto(name, this.vector(name));
  }

  /** Tokens, inputs and labels, that gradients were computed on. */
  get tokens(): number {
    return this.#parts.counters.tokens + this.#tokensSinceStep;
  }

  /** Named vectors to save: the method's, the optimizers' and the best parameters so far. */
  get vectors(): ReadonlyMap<string, Vector> {
    return this.#vectors;
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
    return this.#vectorIn(this.#vectors, name);
  }

  keptVector(name: string): Vector {
    return this.#vectorIn(this.#kept.vectors, name);
  }

  keptState<T extends { [key: string]: Json }>(initial: T): T {
    this.#kept.state ??= initial;
    return this.#kept.state as T;
  }

  optimizer(name: string): AdamW {
    const existing = this.#optimizers.get(name);
    if (existing) return existing;
    const optimizer = new AdamW(name, this.vector(`${name}.m`), this.vector(`${name}.v`));
    this.#optimizers.set(name, optimizer);
    return optimizer;
  }

  importance(name: string, options: ImportanceOptions): Importance {
    const vectors = {
      importance: this.vector(`${name}.importance`),
      uncertainty: this.vector(`${name}.uncertainty`),
    };
    return {
      ...vectors,
      options,
      reset() {
        vectors.importance.fill(0);
        vectors.uncertainty.fill(0);
      },
      score: () => score(vectors),
    };
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
    return this.#computeGradients(batch, { dropout: dropout ? this.#dropout(dropout) : null });
  }

  lossOf(batch: readonly TrainingRecord[]): Promise<number> {
    return this.#meanLoss(batch, this.#parts.options.microBatchSize ?? batch.length);
  }

  async step(request: StepRequest): Promise<StepResult> {
    const { counters, options } = this.#parts;
    await this.#parts.beforeStep?.();
    if (request.mayKeep && counters.steps - counters.devLookedAt >= options.devEvery) await this.#lookAtDev();

    const loss = await this.#computeGradients(request.batch, {
      dropout: this.#dropout(request),
      lossScale: request.lossScale ?? 1,
      ...(request.outputSums ? { outputSums: request.outputSums } : {}),
    });
    const penalty = Number.isFinite(loss) ? await request.penalty?.(this.gradients) : undefined;
    const result = {
      ...(await this.#update(request, loss)),
      ...(typeof penalty === "number" ? { penalty } : {}),
    };
    counters.steps++;
    counters.tokens += countTokens(request.batch) + this.#tokensSinceStep;
    this.#tokensSinceStep = 0;
    if (result.applied) counters.skippedInARow = 0;
    else {
      counters.skipped++;
      counters.skippedInARow++;
    }
    await this.#parts.onStep?.(request, result);
    if (counters.skippedInARow >= mostSkippedInARow) {
      counters.skippedInARow = 0; // whoever goes on gets as many tries again
      throw new RkifError(
        "NON_FINITE",
        `task "${this.task.name}": ${mostSkippedInARow} steps in a row had a loss or gradient that is not finite ` +
          `(the last: loss ${result.loss}, gradient norm ${result.gradNorm}); nothing was changed by them and the run is kept: ` +
          `begin another run with a lower learning rate, or check the data and the checkpoint`,
      );
    }
    return result;
  }

  async cycle(report: CycleReport): Promise<void> {
    await this.#parts.onCycle?.(report);
  }

  /** After the method: the best parameters on dev, where they are selected so, become the result. */
  async finish(): Promise<void> {
    if (!this.#selects) return;
    await this.#lookAtDev();
    if (this.#parts.counters.bestDevLoss !== null) this.parameters.copyFrom(this.vector("best"));
  }

  /** Frees the task's vectors. */
  dispose(): void {
    for (const vector of this.#vectors.values()) vector.dispose();
    this.#vectors.clear();
  }

  #pack(records: readonly TrainingRecord[]): PackedBatch {
    return this.#parts.pack?.(records) ?? pack(records);
  }

  get #selects(): boolean {
    return this.#parts.options.selectBestOnDev && this.#parts.devRecords.length > 0;
  }

  #vectorIn(vectors: Map<string, Vector>, name: string): Vector {
    const existing = vectors.get(name);
    if (existing) return existing;
    const vector = createVector(this.parameters.length);
    vectors.set(name, vector);
    return vector;
  }

  #dropout({ loop, step }: { loop: number; step: number }): DropoutCounters | null {
    const { task, options, dropout = true } = this.#parts;
    return dropout ? { seed: options.seed, task: task.index, loop, step } : null;
  }

  /** The gradient of the batch's mean loss replaces what `gradients` held. */
  async #computeGradients(
    batch: readonly TrainingRecord[],
    {
      dropout,
      lossScale = 1,
      outputSums,
    }: { dropout: DropoutCounters | null; lossScale?: number; outputSums?: Vector },
  ): Promise<number> {
    const { model, options, abort } = this.#parts;
    const divisor = countLabelTokens(batch);
    model.gradients.fill(0);
    outputSums?.fill(0);
    let sum = 0;
    for (const part of splitIntoMicroBatches(batch, options.microBatchSize ?? batch.length)) {
      const report = await model.accumulate(this.#pack(part), {
        ...{ divisor, lossScale, dropout },
        ...(outputSums ? { outputSums } : {}),
        ...(abort ? { abort } : {}),
      });
      sum += report.lossSum;
    }
    return sum / divisor;
  }

  async #meanLoss(records: readonly TrainingRecord[], microBatchSize: number): Promise<number> {
    const { model, abort } = this.#parts;
    let sum = 0;
    for (const part of splitIntoMicroBatches(records, microBatchSize)) {
      for (const loss of await model.loss(this.#pack(part), abort)) sum += loss;
    }
    return sum / countLabelTokens(records);
  }

  async #update(request: StepRequest, loss: number): Promise<StepResult> {
    if (!Number.isFinite(loss)) return { loss, gradNorm: NaN, applied: false };
    const { model, options, counters } = this.#parts;
    const { name, m, v } = request.optimizer as AdamW;
    const update = (counters.updates[name] ?? 0) + 1;
    const { importance } = request;
    const report = await adamwStep(
      { parameters: model.parameters, gradients: model.gradients, m, v },
      {
        learningRate: request.learningRate,
        update,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weightDecay: options.weightDecay,
        maxGradNorm: options.maxGradNorm,
        ...(importance
          ? {
              importance: {
                importance: importance.into.importance,
                uncertainty: importance.into.uncertainty,
                importanceDecay: importance.into.options.importanceDecay,
                uncertaintyDecay: importance.into.options.uncertaintyDecay,
                ...(importance.into.options.mask ? { mask: importance.into.options.mask } : {}),
                reads: importance.reads,
              },
            }
          : {}),
      },
    );
    if (report.applied) counters.updates[name] = update;
    return { loss, gradNorm: report.gradNorm, applied: report.applied };
  }

  async #lookAtDev(): Promise<void> {
    if (!this.#selects) return;
    const { devRecords, counters, options } = this.#parts;
    const loss = await this.#meanLoss(devRecords, options.microBatchSize ?? 25);
    if (Number.isFinite(loss) && (counters.bestDevLoss === null || loss < counters.bestDevLoss)) {
      counters.bestDevLoss = loss;
      this.vector("best").copyFrom(this.parameters);
    }
    counters.devLookedAt = counters.steps;
  }
}
