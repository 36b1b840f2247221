import { resolve } from "node:path";
import type { TaskData } from "../data/tasks.js";
import { RkifError } from "../errors.js";
import { createAbortFlag } from "../models/kernels.js";
import type { TrainedModel } from "../models/trained-model.js";
import { findMethod, resolveConfig, splitConfig, type ConfigInput, type ResolvedConfig } from "./config.js";
import type { LearnerEvent } from "./events.js";
import { learnTasks } from "./learn-tasks.js";
import { reportMatrix, type MatrixReport } from "./matrix.js";
import { openRun, type OpenRun } from "./open-run.js";
import type { DataOptions } from "./options.js";
import { RunFolder } from "./run-folder.js";
import { namesOf, type Spent } from "./run-store.js";

export interface LearnOptions {
  /** Stops within one step; the run folder keeps everything, and the same call later goes on. */
  signal?: AbortSignal;
  /** The task that comes next: it is tokenized while this one trains (where the run has a `tokenCache`). `learnAll` does so by itself. */
  next?: TaskData;
}

export interface OpenOptions {
  /** Told everything that happens. */
  onEvent?: (event: LearnerEvent) => void;
}

/**
 * Teaches a model one task after another. Everything it needs later is in the run folder: adapter, memory records, matrix,
 * counters. A learner is used by one caller at a time.
 */
export class Learner {
  readonly #run: OpenRun;
  #busy = false;

  private constructor(run: OpenRun) {
    this.#run = run;
  }

  /**
   * Begins a run in `run`, or goes on with the one that is there.
   * @param input options as in a configuration file (see {@link resolveConfig}); `run`: the folder; `plan`: where the tasks come from, kept
   *   with the configuration for whoever goes on with the run
   * @throws {RkifError} RUN_CONFLICT where the folder holds a run of another configuration, naming the options that differ.
   */
  static async create(
    { run, plan, ...input }: ConfigInput & { run: string; plan?: DataOptions },
    options: OpenOptions = {},
  ): Promise<Learner> {
    const config = { ...resolveConfig(input), ...plan };
    if (config.model !== "embedded") config.model = resolve(config.model);
    if (config.adapter !== null) config.adapter = resolve(config.adapter);
    return Learner.#open(new RunFolder(resolve(run)), config, options);
  }

  /**
   * Goes on with the run in a folder, as it was configured.
   * @throws {RkifError} RUN_INVALID where there is none.
   */
  static async open(run: string, options: OpenOptions = {}): Promise<Learner> {
    const folder = new RunFolder(resolve(run));
    if (!folder.exists) {
      throw new RkifError(
        "RUN_INVALID",
        `${folder.path} holds no run (no config.json); expected the folder of an earlier run`,
      );
    }
    return Learner.#open(folder, undefined, options);
  }

  static async #open(
    folder: RunFolder,
    given: ResolvedConfig | undefined,
    { onEvent = () => undefined }: OpenOptions,
  ): Promise<Learner> {
    return new Learner(await openRun(folder, given, onEvent));
  }

  /** Every option, as the run has it. */
  get config(): ResolvedConfig {
    return this.#run.config;
  }

  /** Names of the tasks learned so far. */
  get tasks(): string[] {
    return this.#run.learned.map(({ name }) => name);
  }

  /** The task an interrupted run was learning, of several at once the first; learn it again to go on. */
  get unfinished(): string | null {
    const { current } = this.#run.store.counters;
    return current === null ? null : namesOf(current)[0]!;
  }

  /** Where the run's tasks came from, as given when it was begun. */
  get plan(): Readonly<Record<string, unknown>> {
    return splitConfig(this.config).data;
  }

  /** Accuracy matrix and OP, BWT, FWT so far. */
  get matrix(): MatrixReport {
    return reportMatrix(this.#run.store.counters.matrix);
  }

  /** What the tasks learned so far have cost. */
  get spent(): Spent {
    return { ...this.#run.store.counters.spent };
  }

  /** The model as it stands: to generate with, or to look into. */
  get model(): TrainedModel {
    return this.#run.loaded;
  }

  /**
   * Learns the tasks that the run does not know yet, as its method has it: one after another, or all at once.
   * @throws {RkifError} as {@link learn}.
   */
  async learnAll(tasks: readonly TaskData[], { signal }: LearnOptions = {}): Promise<MatrixReport> {
    const ahead = tasks.filter(({ name }) => !this.tasks.includes(name));
    const stops = signal ? { signal } : {};
    if (ahead.length > 0 && this.#learnsTogether) return this.#guarded(ahead, stops);
    for (const [i, task] of ahead.entries()) {
      const next = ahead[i + 1];
      await this.learn(task, { ...stops, ...(next ? { next } : {}) });
    }
    return this.matrix;
  }

  /**
   * Learns one task and evaluates all tasks learned so far.
   * @throws {RkifError} ABORTED where `signal` stopped it, NON_FINITE, RUN_CONFLICT where the task cannot be learned now. Everything is kept.
   */
  async learn(task: TaskData, options: LearnOptions = {}): Promise<MatrixReport> {
    if (this.#learnsTogether) {
      throw this.#conflict(`method ${this.config.method} learns all tasks at once: give them to learnAll`);
    }
    return this.#guarded([task], options);
  }

  get #learnsTogether(): boolean {
    return findMethod(this.config.method).learnsTogether ?? false;
  }

  async #guarded(tasks: readonly TaskData[], { signal, next }: LearnOptions): Promise<MatrixReport> {
    if (this.#busy) throw this.#conflict("a task is being learned; await it first");
    this.#busy = true;
    const abort = createAbortFlag();
    const stop = (): void => abort.abort();
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
    try {
      await learnTasks(this.#run, tasks, abort, next);
    } finally {
      signal?.removeEventListener("abort", stop);
      this.#busy = false;
    }
    return this.matrix;
  }

  /** Frees the model and gives the run folder back. */
  async dispose(): Promise<void> {
    const { store, loaded } = this.#run;
    store.dispose();
    loaded.model.dispose();
    await store.folder.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #conflict(what: string): RkifError {
    return new RkifError("RUN_CONFLICT", `${this.#run.store.folder.path}: ${what}`);
  }
}
