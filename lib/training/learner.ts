import { resolve } from "node:path";
import { openFormat } from "../data/formats/open-format.js";
import type { EncodedRecord, RecordFormat } from "../data/formats/record-format.js";
import { selectMemory } from "../data/memory.js";
import type { TaskData } from "../data/tasks.js";
import { RkifError, isAborted } from "../errors.js";
import { createAbortFlag } from "../models/kernels.js";
import { loadModel, saveTrained, type TrainedModel } from "../models/trained-model.js";
import type { AbortFlag } from "../native/contract.js";
import {
  findMethod,
  methodOptions,
  resolveConfig,
  splitConfig,
  type ConfigInput,
  type ResolvedConfig,
} from "./config.js";
import { evaluatedBy } from "./evaluate-learned.js";
import type { LearnerEvent } from "./events.js";
import { initialAdapter } from "./initialize.js";
import { agreed, keptConfig, trainableOf } from "./kept-config.js";
import { readLearnedTask, writeMemory, type LearnedTask } from "./learned-task.js";
import { loadOptions } from "./load-options.js";
import { TaskLog } from "./logging.js";
import { MatrixFiller } from "./matrix-filler.js";
import { reportMatrix, type MatrixReport } from "./matrix.js";
import type { DataOptions } from "./options.js";
import { RunFolder, replaceFolder, writeJson } from "./run-folder.js";
import { namesOf, RunStore, type CurrentTask, type Spent } from "./run-store.js";
import { takeUp } from "./take-up.js";
import { newTaskCounters, TaskRun } from "./task-run.js";
import { TaskSets } from "./task-sets.js";

export interface LearnOptions {
  /** Stops within one step; the run folder keeps everything, and the same call later goes on. */
  signal?: AbortSignal;
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
  readonly config: ResolvedConfig;
  readonly #loaded: TrainedModel;
  readonly #format: RecordFormat;
  readonly #store: RunStore;
  readonly #filler: MatrixFiller;
  readonly #learned: LearnedTask[] = [];
  #run: TaskRun | undefined;
  #busy = false;
  #stepsSinceSave = 0;

  private constructor(
    config: ResolvedConfig,
    folder: RunFolder,
    loaded: TrainedModel,
    format: RecordFormat,
    options: OpenOptions,
  ) {
    this.config = config;
    this.#loaded = loaded;
    this.#format = format;
    this.#store = new RunStore(folder, loaded.model, options.onEvent ?? (() => undefined));
    this.#filler = new MatrixFiller(this.#store, loaded, format, config);
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
    options: OpenOptions,
  ): Promise<Learner> {
    await folder.open();
    try {
      const goesOn = folder.exists;
      const config = goesOn ? agreed(await keptConfig(folder), given, folder) : given!;
      // The run keeps a copy of the adapter it was given, and needs the folder it came from no more.
      const adapter = config.adapter !== null && goesOn ? folder.startAdapter : config.adapter;
      const loaded = await loadModel({
        ...loadOptions({ ...config, adapter }),
        trainable: trainableOf(config),
        ...(config.baseDropout === null ? {} : { baseDropout: config.baseDropout }),
      });
      try {
        evaluatedBy(config.evaluateBy, loaded.config.family);
        for (const message of loaded.warnings) options.onEvent?.({ event: "warning", message });
        const learner = new Learner(config, folder, loaded, await openFormat(loaded, config), options);
        if (goesOn) await learner.#restore();
        else await learner.#begin();
        // Last: a folder with config.json is a run. What may differ when a run goes on is kept as it was given last.
        await writeJson(
          folder.layout,
          loaded.model.layout.map(({ name, shape }) => ({ name, shape })),
        );
        await writeJson(folder.config, config);
        return learner;
      } catch (error) {
        loaded.model.dispose();
        throw error;
      }
    } catch (error) {
      await folder.close();
      throw error;
    }
  }

  /** Names of the tasks learned so far. */
  get tasks(): string[] {
    return this.#learned.map(({ name }) => name);
  }

  /** The task an interrupted run was learning, of several at once the first; learn it again to go on. */
  get unfinished(): string | null {
    const { current } = this.#store.counters;
    return current === null ? null : namesOf(current)[0]!;
  }

  /** Where the run's tasks came from, as given when it was begun. */
  get plan(): Readonly<Record<string, unknown>> {
    return splitConfig(this.config).data;
  }

  /** Accuracy matrix and OP, BWT, FWT so far. */
  get matrix(): MatrixReport {
    return reportMatrix(this.#store.counters.matrix);
  }

  /** What the tasks learned so far have cost. */
  get spent(): Spent {
    return { ...this.#store.counters.spent };
  }

  /** The model as it stands: to generate with, or to look into. */
  get model(): TrainedModel {
    return this.#loaded;
  }

  /**
   * Learns the tasks that the run does not know yet, as its method has it: one after another, or all at once.
   * @throws {RkifError} as {@link learn}.
   */
  async learnAll(tasks: readonly TaskData[], options: LearnOptions = {}): Promise<MatrixReport> {
    const ahead = tasks.filter(({ name }) => !this.tasks.includes(name));
    if (ahead.length > 0 && this.#learnsTogether) return this.#guarded(ahead, options);
    for (const task of ahead) await this.learn(task, options);
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

  async #guarded(tasks: readonly TaskData[], { signal }: LearnOptions): Promise<MatrixReport> {
    if (this.#busy) throw this.#conflict("a task is being learned; await it first");
    this.#busy = true;
    const abort = createAbortFlag();
    const stop = (): void => abort.abort();
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
    try {
      await this.#learn(tasks, abort);
    } catch (error) {
      // What was saved last may be many steps old. Other errors may have struck in the middle of a step: there, the run goes back to
      // that. Restoring also makes the task's vectors ready for another call.
      if (stopsBetweenSteps(error) && this.unfinished !== null) await this.#save();
      await this.#store.restore();
      throw isAborted(error) ? stopped(error) : error;
    } finally {
      signal?.removeEventListener("abort", stop);
      this.#store.clock();
      this.#endTraining();
      this.#busy = false;
    }
    return this.matrix;
  }

  /** Frees the model and gives the run folder back. */
  async dispose(): Promise<void> {
    this.#store.dispose();
    this.#loaded.model.dispose();
    await this.#store.folder.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  async #begin(): Promise<void> {
    const { model, trainable } = this.#loaded;
    if (this.config.adapter !== null) {
      await replaceFolder(this.#store.folder.startAdapter, (part) => this.#saveTrained(part));
    } else if (trainable.kind === "lora")
      model.parameters.set(initialAdapter(model.layout, this.config.seed));
    await this.#save();
  }

  async #restore(): Promise<void> {
    await this.#store.restore();
    const { current, matrix } = this.#store.counters;
    const finished = current ? matrix.tasks.slice(0, -namesOf(current).length) : matrix.tasks;
    for (const [index, name] of finished.entries()) this.#learned.push(await this.#read(index, name, true));
  }

  /** @param tasks one, or all that are learned together */
  async #learn(tasks: readonly TaskData[], abort: AbortFlag): Promise<void> {
    const index = this.#learned.length;
    const current = await takeUp(this.#store, tasks, index, this.config);
    if (current.stage !== "after") {
      const learned = await this.#readAll(tasks, false);
      const encoded = await this.#format.encode(tasks.flatMap(({ train }) => train));
      if (current.stage === "new") {
        const { cutSources, cutTargets, records } = encoded;
        const counts = { records: records.length, cutSources, cutTargets };
        await this.#store.log({ event: "task-start", task: current.name, index, ...counts });
        current.stage = "before";
      }
      if (current.stage === "before") {
        this.#store.clock("evaluateSeconds");
        if (this.config.measureForwardTransfer) {
          for (const [k, task] of learned.entries())
            await this.#filler.before(task, this.#learned, learned.slice(0, k), abort);
        }
        current.stage = "train";
      }
      this.#store.clock("trainSeconds");
      await this.#train(index, encoded.records, learned, current, abort);
      await this.#keep(tasks, index, current);
    }
    this.#store.clock("evaluateSeconds");
    const all = [...this.#learned, ...(await this.#readAll(tasks, true))];
    await this.#filler.after(all, abort);
    this.#learned.push(...all.slice(index));
    this.#store.counters.current = null;
    await this.#save();
  }

  async #train(
    index: number,
    records: EncodedRecord[],
    learned: readonly LearnedTask[],
    current: CurrentTask,
    abort: AbortFlag,
  ): Promise<void> {
    const { seed, batchSize, epochs, saveEvery, selectBestOnDev } = this.config;
    const method = findMethod(this.config.method);
    const memory = method.usesMemory ? this.#learned.flatMap((earlier) => earlier.memory) : [];
    const sets = new TaskSets(records, memory, { batchSize, epochs, seed, task: index });
    const plannedSteps = sets.taskBatches({ loop: 0, withMemory: false }).steps;
    const log = new TaskLog(this.#store, {
      task: current.name,
      plannedSteps,
      layout: this.#loaded.model.layout,
      logMasksEvery: this.config.logMasksEvery,
    });
    // Where a task is evaluated with its own adapter, the earlier ones' records say nothing of it.
    const judged = method.evaluatesWith === "own-adapter" ? learned : [...this.#learned, ...learned];
    const saved = this.#store.takeTaskVectors();
    const run = new TaskRun({
      task: { index, name: current.name },
      options: this.config,
      model: this.#loaded.model,
      pack: (batch) => this.#format.pack(batch),
      taskRecords: sets.records,
      memorySize: sets.memory.length,
      taskBatches: (options) => sets.taskBatches(options),
      memoryBatches: (options) => sets.memoryBatches(options),
      devRecords: selectBestOnDev ? judged.flatMap(({ dev }) => dev) : [],
      counters: current.training,
      kept: this.#store.kept,
      ...(saved ? { saved } : {}),
      abort,
      beforeStep: async () => {
        if (abort.aborted) throw stopped();
        if (++this.#stepsSinceSave > saveEvery) await this.#save();
      },
      onStep: (request, result) => log.step(request, result),
      onCycle: (report) => log.cycle(report),
    });
    this.#run = run;
    saved?.dispose();
    const options = methodOptions(this.config);
    if (current.stage === "train") {
      await method.learn(run, options);
      await run.finish();
      current.stage = "consolidate";
    }
    await method.consolidate?.(run, options);
  }

  /** Keeps what trained tasks leave behind: the adapter, as that of the last, and their memory. */
  async #keep(tasks: readonly TaskData[], index: number, current: CurrentTask): Promise<void> {
    const { seed, memoryFraction } = this.config;
    const { folder } = this.#store;
    for (const [k, { name, train }] of tasks.entries()) {
      const chosen = selectMemory(train, { fraction: memoryFraction, seed, task: index + k });
      await writeMemory(folder, index + k, name, chosen.map((i) => train[i]!)); // prettier-ignore
    }
    const last = folder.adapter(index + tasks.length - 1, tasks.at(-1)!.name);
    for (const target of [last, folder.lastAdapter]) {
      await replaceFolder(target, (part) => this.#saveTrained(part));
    }
    const { steps, skipped } = current.training;
    const tokens = this.#run?.tokens ?? 0;
    await this.#store.log({ event: "task-end", task: current.name, index, steps, skipped, tokens });
    const { spent } = this.#store.counters;
    Object.assign(spent, {
      steps: spent.steps + steps,
      skipped: spent.skipped + skipped,
      tokens: spent.tokens + tokens,
    });
    current.training = newTaskCounters();
    current.stage = "after";
    this.#endTraining();
    await this.#save();
  }

  async #readAll(tasks: readonly TaskData[], hasMemory: boolean): Promise<LearnedTask[]> {
    const read: LearnedTask[] = [];
    const first = this.#learned.length;
    for (const [k, { name }] of tasks.entries()) read.push(await this.#read(first + k, name, hasMemory));
    return read;
  }

  #read(index: number, name: string, hasMemory: boolean): Promise<LearnedTask> {
    const usesDev = this.config.selectBestOnDev;
    return readLearnedTask(this.#store.folder, index, name, this.#format, { hasMemory, usesDev });
  }

  #saveTrained(folder: string): Promise<void> {
    return saveTrained(this.#loaded, folder, { baseName: this.config.model });
  }

  async #save(): Promise<void> {
    this.#stepsSinceSave = 0;
    await this.#store.save(this.#run?.vectors);
  }

  #endTraining(): void {
    this.#run?.dispose();
    this.#run = undefined;
  }

  #conflict(what: string): RkifError {
    return new RkifError("RUN_CONFLICT", `${this.#store.folder.path}: ${what}`);
  }
}

/** Whether a run can be saved where this error ended it. */
function stopsBetweenSteps(error: unknown): boolean {
  return isAborted(error) || (error as { code?: string }).code === "NON_FINITE";
}

function stopped(cause?: unknown): RkifError {
  return new RkifError("ABORTED", "stopped; the run is saved and goes on with the same command", { cause });
}
