import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { EpochBatches, MemoryBatches } from "../data/batches.js";
import { encodeRecords, type EncodedRecord } from "../data/encode.js";
import { selectMemory } from "../data/memory.js";
import type { TaskData } from "../data/tasks.js";
import { RkifError, isAborted } from "../errors.js";
import type { Batches, Json } from "../methods/run.js";
import { createAbortFlag, createVector } from "../models/kernels.js";
import { loadModel, saveTrained, type TrainedModel } from "../models/trained-model.js";
import type { AbortFlag, LoraConfig, Vector } from "../native/contract.js";
import { loadAddon } from "../native/load.js";
import {
  configDifferences,
  findMethod,
  methodOptions,
  resolveConfig,
  splitConfig,
  type ConfigInput,
  type ResolvedConfig,
} from "./config.js";
import type { DataOptions } from "./options.js";
import { evaluateLearned } from "./evaluate-learned.js";
import { finiteOrNull, type LearnerEvent } from "./events.js";
import { initialAdapter } from "./initialize.js";
import { readLearnedTask, writeMemory, writeTask, type LearnedTask, type Lengths } from "./learned-task.js";
import {
  emptyMatrix,
  reportMatrix,
  setEntry,
  writeMatrix,
  type Matrix,
  type MatrixReport,
} from "./matrix.js";
import { RunFolder, readJson, replaceFolder, writeJson } from "./run-folder.js";
import { openState, saveState } from "./run-state.js";
import { newTaskCounters, TaskRun, type TaskCounters } from "./task-run.js";

/** Where a task stands that is being learned. */
interface CurrentTask {
  [key: string]: Json;
  name: string;
  /** Of the training records, so that a task does not go on with other data. */
  digest: string;
  stage: "before" | "train" | "after";
  training: TaskCounters;
}

interface Counters {
  [key: string]: Json;
  matrix: Matrix & { [key: string]: Json };
  current: CurrentTask | null;
  metricsLength: number;
}

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
  readonly #folder: RunFolder;
  readonly #loaded: TrainedModel;
  readonly #onEvent: (event: LearnerEvent) => void;
  readonly #learned: LearnedTask[] = [];
  #counters: Counters = { matrix: { ...emptyMatrix() }, current: null, metricsLength: 0 };
  #run: TaskRun | undefined;
  #saved: { names: string[]; readInto(name: string, vector: Vector): void; dispose(): void } | undefined;
  #busy = false;
  #stepsSinceSave = 0;

  private constructor(config: ResolvedConfig, folder: RunFolder, loaded: TrainedModel, options: OpenOptions) {
    this.config = config;
    this.#folder = folder;
    this.#loaded = loaded;
    this.#onEvent = options.onEvent ?? (() => undefined);
  }

  /**
   * Begins a run in `run`, or goes on with the one that is there.
   * @param input options as in a configuration file (see {@link resolveConfig}); `run`: the folder; `plan`: where the tasks come from, kept for
   *   the record
   * @throws {RkifError} RUN_CONFLICT where the folder holds a run of another configuration, naming the options that differ.
   */
  static async create(
    { run, ...input }: ConfigInput & { run: string },
    options: OpenOptions = {},
  ): Promise<Learner> {
    const config = resolveConfig(input);
    if (config.model !== "embedded") config.model = resolve(config.model);
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
      const config = goesOn ? agreed(await readJson<ResolvedConfig>(folder.config), given, folder) : given!;
      if (config.threads !== null) loadAddon().setThreads(config.threads);
      const loaded = await loadModel({
        model: config.model,
        baseType: config.baseType,
        copyWeights: config.copyWeights,
        trainable: trainableOf(config),
        ...(config.baseDropout === null ? {} : { baseDropout: config.baseDropout }),
      });
      const learner = new Learner(config, folder, loaded, options);
      try {
        if (goesOn) await learner.#restore();
        else await learner.#begin();
      } catch (error) {
        loaded.model.dispose();
        throw error;
      }
      return learner;
    } catch (error) {
      await folder.close();
      throw error;
    }
  }

  /** Names of the tasks learned so far. */
  get tasks(): string[] {
    return this.#learned.map(({ name }) => name);
  }

  /** The task an interrupted run was learning; `learn` it again to go on. */
  get unfinished(): string | null {
    return this.#counters.current?.name ?? null;
  }

  /** Where the run's tasks came from, as given when it was begun. */
  get plan(): Readonly<Record<string, unknown>> {
    return splitConfig(this.config).data;
  }

  /** Accuracy matrix and OP, BWT, FWT so far. */
  get matrix(): MatrixReport {
    return reportMatrix(this.#counters.matrix);
  }

  /** The model as it stands: to generate with, or to look into. */
  get model(): TrainedModel {
    return this.#loaded;
  }

  /**
   * Learns one task and evaluates all tasks learned so far.
   * @throws {RkifError} ABORTED where `signal` stopped it, NON_FINITE, RUN_CONFLICT where the task cannot be learned now. Everything is kept.
   */
  async learn(task: TaskData, { signal }: LearnOptions = {}): Promise<MatrixReport> {
    if (this.#busy)
      throw new RkifError("RUN_CONFLICT", `${this.#folder.path}: a task is being learned; await it first`);
    this.#busy = true;
    const abort = createAbortFlag();
    const stop = (): void => abort.abort();
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
    try {
      await this.#learn(task, abort);
    } catch (error) {
      // What was saved last may be many steps old.
      if (isAborted(error) || (error as { code?: string }).code === "NON_FINITE") {
        await this.#save();
        this.#saved = await openState(this.#folder.state);
      }
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
      this.#run?.dispose();
      this.#run = undefined;
      this.#busy = false;
    }
    return this.matrix;
  }

  /** Frees the model and gives the run folder back. */
  async dispose(): Promise<void> {
    this.#saved?.dispose();
    this.#loaded.model.dispose();
    await this.#folder.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  async #begin(): Promise<void> {
    const { model, trainable } = this.#loaded;
    if (trainable.kind === "lora") model.parameters.set(initialAdapter(model.layout, this.config.seed));
    await this.#save();
    // Last: a folder with config.json is a run.
    await writeJson(this.#folder.config, this.config);
  }

  async #restore(): Promise<void> {
    const state = await openState(this.#folder.state);
    this.#saved = state;
    this.#counters = state.counters as Counters;
    state.readInto("parameters", this.#loaded.model.parameters);
    await this.#folder.cutMetrics(this.#counters.metricsLength);
    const { tasks } = this.#counters.matrix;
    const finished = this.#counters.current ? tasks.slice(0, -1) : tasks;
    for (const [index, name] of finished.entries()) this.#learned.push(await this.#read(index, name, true));
  }

  async #learn(task: TaskData, abort: AbortFlag): Promise<void> {
    const index = this.#learned.length;
    const current = await this.#start(task, index);
    const encoded = await encodeRecords(task.train, this.#loaded.tokenizer, this.#lengths);
    const learned = await this.#read(index, task.name, false);
    if (current.stage === "before") {
      await this.#log({
        event: "task-start",
        task: task.name,
        index,
        records: encoded.records.length,
        cutSources: encoded.cutSources,
        cutTargets: encoded.cutTargets,
      });
      if (this.config.measureForwardTransfer) await this.#evaluateBefore(index, learned, abort);
      current.stage = "train";
    }
    if (current.stage === "train") {
      await this.#train(index, encoded.records, learned, current, abort);
      current.stage = "after";
      await this.#finishTraining(task, index, current);
    }
    this.#learned.push(await this.#read(index, task.name, true));
    try {
      for (const [j, seen] of this.#learned.entries()) {
        if (this.#counters.matrix.R[index]?.[j] === undefined) await this.#evaluate(index, j, seen, abort);
      }
    } catch (error) {
      this.#learned.pop();
      throw error;
    }
    this.#counters.current = null;
    await this.#save();
  }

  /** Takes up a new task, or the one that was interrupted. */
  async #start(task: TaskData, index: number): Promise<CurrentTask> {
    const digest = createHash("sha256").update(JSON.stringify(task.train)).digest("hex");
    const { current, matrix } = this.#counters;
    if (current) {
      if (current.name === task.name && current.digest === digest) return current;
      throw new RkifError(
        "RUN_CONFLICT",
        `${this.#folder.path}: task "${current.name}" was interrupted and comes first; ` +
          (current.name === task.name
            ? "its training records have changed since"
            : `found task "${task.name}"`),
      );
    }
    if (matrix.tasks.includes(task.name)) {
      throw new RkifError(
        "RUN_CONFLICT",
        `${this.#folder.path}: task "${task.name}" has been learned already`,
      );
    }
    if (task.train.length === 0) {
      throw new RkifError(
        "DATA_INVALID",
        `task "${task.name}" has no training records; expected at least one`,
      );
    }
    await writeTask(this.#folder, index, task, this.config.devRecords);
    const started: CurrentTask = { name: task.name, digest, stage: "before", training: newTaskCounters() };
    matrix.tasks.push(task.name);
    this.#counters.current = started;
    return started;
  }

  async #train(
    index: number,
    records: EncodedRecord[],
    learned: LearnedTask,
    current: CurrentTask,
    abort: AbortFlag,
  ): Promise<void> {
    const method = findMethod(this.config.method);
    const earlier = method.usesMemory ? this.#learned.flatMap(({ memory }) => memory) : [];
    const memory = earlier.map((record, key) => ({ ...record, key }));
    const mixed = [...records, ...memory.map((record) => ({ ...record, key: records.length + record.key }))];
    const { seed, batchSize, epochs } = this.config;
    const over = (
      set: EncodedRecord[],
      of: { steps: number; at(step: number): number[] },
      steps = of.steps,
    ): Batches => ({
      steps,
      at: (step) => of.at(step).map((i) => set[i]!),
    });
    // Where a method asks for more steps than its epochs have, further epochs follow.
    const endless = Number.MAX_SAFE_INTEGER;
    const epochsOf = (set: EncodedRecord[], loop: number): Batches => {
      const key = { seed, task: index, loop };
      const planned = new EpochBatches(set.length, batchSize, epochs, key).steps;
      return over(
        set,
        new EpochBatches(set.length, batchSize, Math.floor(endless / set.length), key),
        planned,
      );
    };
    const planned = epochsOf(records, 0).steps;
    const saved = this.#takeSaved();
    let recent = 0;
    const run = new TaskRun({
      task: { index, name: learned.name },
      options: this.config,
      model: this.#loaded.model,
      memorySize: memory.length,
      taskBatches: ({ loop, withMemory }) => epochsOf(withMemory ? mixed : records, loop),
      memoryBatches: ({ loop }) =>
        over(
          memory,
          Object.assign(new MemoryBatches(memory.length, batchSize, { seed, task: index, loop }), {
            steps: Infinity,
          }),
        ),
      devRecords: this.config.selectBestOnDev ? [...this.#learned, learned].flatMap(({ dev }) => dev) : [],
      counters: current.training,
      ...(saved ? { saved } : {}),
      abort,
      beforeStep: async () => {
        if (abort.aborted) throw stopped();
        if (++this.#stepsSinceSave > this.config.saveEvery) await this.#save();
      },
      onStep: async ({ loop, step, learningRate }, { loss, gradNorm, applied }) => {
        recent = recent === 0 ? loss : 0.9 * recent + 0.1 * loss;
        await this.#log({
          event: "step",
          task: learned.name,
          loop,
          step,
          loss: finiteOrNull(loss),
          gradNorm: finiteOrNull(gradNorm),
          learningRate,
          applied,
        });
        if (loop === 0) this.#progress(learned.name, "train", step + 1, Math.max(step + 1, planned), recent);
      },
      onCycle: async ({ cycle, fused, onlyIn, onlyOut, both, neither, masks }) => {
        const thresholds = async (mask?: {
          thresholds(): Promise<Float32Array>;
        }): Promise<(number | null)[]> => (mask ? Array.from(await mask.thresholds(), finiteOrNull) : []);
        await this.#log({
          event: "cycle",
          task: learned.name,
          cycle,
          fused,
          ...(masks ? { onlyIn, onlyOut, both, neither } : {}),
          ...(masks
            ? { thresholdIn: await thresholds(masks.in), thresholdOut: await thresholds(masks.out) }
            : {}),
        } as LearnerEvent);
      },
    });
    this.#run = run;
    saved?.dispose();
    await method.learn(run, methodOptions(this.config));
    await run.finish();
  }

  /** Keeps what the task leaves behind: its adapter and memory. */
  async #finishTraining(task: TaskData, index: number, current: CurrentTask): Promise<void> {
    const { seed, memoryFraction } = this.config;
    const chosen = selectMemory(task.train, { fraction: memoryFraction, seed, task: index });
    await writeMemory(
      this.#folder,
      index,
      task.name,
      chosen.map((i) => task.train[i]!),
    );
    for (const folder of [this.#folder.adapter(index, task.name), this.#folder.lastAdapter]) {
      await replaceFolder(folder, (part) => saveTrained(this.#loaded, part, { baseName: this.config.model }));
    }
    const { steps, skipped } = current.training;
    await this.#log({ event: "task-end", task: task.name, index, steps, skipped });
    current.training = newTaskCounters();
    this.#run?.dispose();
    this.#run = undefined;
    await this.#save();
  }

  /** Before a task is learned: the untrained model on it, and the model as it stands. */
  async #evaluateBefore(index: number, task: LearnedTask, abort: AbortFlag): Promise<void> {
    const { matrix } = this.#counters;
    const { model, trainable } = this.#loaded;
    if (matrix.baseline[index] === undefined && (trainable.kind === "lora" || index === 0)) {
      const kept = model.parameters.copy();
      try {
        // An adapter of zeros adds nothing: this is the base model.
        if (trainable.kind === "lora") model.parameters.fill(0);
        const { accuracy } = await this.#measure(null, task, this.#labelsUpTo(index, task), abort);
        setEntry([matrix.baseline], 0, index, accuracy);
      } finally {
        model.parameters.copyFrom(kept);
        kept.dispose();
      }
    }
    if (index > 0 && matrix.R[index - 1]?.[index] === undefined)
      await this.#evaluate(index - 1, index, task, abort);
  }

  async #evaluate(i: number, j: number, task: LearnedTask, abort: AbortFlag): Promise<void> {
    const { matrix } = this.#counters;
    const after = matrix.tasks[i]!;
    const result = await this.#measure(after, task, this.#labelsUpTo(Math.max(i, j), task), abort);
    setEntry(matrix.R, i, j, result.accuracy);
    setEntry(matrix.ownLabelR, i, j, result.ownLabelAccuracy ?? null);
    await writeMatrix(this.#folder.matrix, matrix);
  }

  async #measure(
    after: string | null,
    task: LearnedTask,
    candidates: string[],
    abort: AbortFlag,
  ): Promise<{ accuracy: number; ownLabelAccuracy?: number }> {
    const result = await evaluateLearned(this.#loaded, task, {
      config: this.config,
      candidates,
      abort,
      onProgress: (done, total) => this.#progress(task.name, "evaluate", done, total),
    });
    const { accuracy, correct, total, ownLabelAccuracy } = result;
    const own = ownLabelAccuracy === undefined ? {} : { ownLabelAccuracy };
    await this.#log({ event: "evaluation", after, task: task.name, accuracy, ...own, correct, total });
    return { accuracy, ...own };
  }

  #labelsUpTo(last: number, task: LearnedTask): string[] {
    const tasks = [...this.#learned.filter(({ name }) => name !== task.name).slice(0, last + 1), task];
    return [...new Set(tasks.flatMap(({ labels }) => labels))];
  }

  #read(index: number, name: string, hasMemory: boolean): Promise<LearnedTask> {
    return readLearnedTask(this.#folder, index, name, this.#loaded.tokenizer, this.#lengths, hasMemory);
  }

  get #lengths(): Lengths {
    const { sourceTokens, targetTokens } = this.config;
    return { sourceTokens, targetTokens, endTokenId: this.#loaded.config.eosTokenId };
  }

  async #save(): Promise<void> {
    this.#stepsSinceSave = 0;
    this.#counters.metricsLength = await this.#folder.metricsLength();
    const vectors = new Map<string, Vector>([["parameters", this.#loaded.model.parameters]]);
    for (const [name, vector] of this.#run?.vectors ?? []) vectors.set(`task/${name}`, vector);
    await saveState(this.#folder.state, { counters: this.#counters, vectors });
  }

  /** The saved vectors of the task that goes on, once. */
  #takeSaved():
    { names: string[]; readInto(name: string, vector: Vector): void; dispose(): void } | undefined {
    const saved = this.#saved;
    this.#saved = undefined;
    if (!saved) return undefined;
    return {
      names: saved.names.filter((name) => name.startsWith("task/")).map((name) => name.slice("task/".length)),
      readInto: (name, vector) => saved.readInto(`task/${name}`, vector),
      dispose: () => saved.dispose(),
    };
  }

  async #log(event: LearnerEvent): Promise<void> {
    await this.#folder.log(event);
    this.#onEvent(event);
  }

  #progress(task: string, stage: "train" | "evaluate", done: number, total: number, loss?: number): void {
    const label = stage === "train" ? `${task}: training` : `${task}: evaluating`;
    this.#onEvent({
      event: "progress",
      task,
      stage,
      label,
      done,
      total,
      ...(loss === undefined ? {} : { loss }),
    });
  }
}

function stopped(): RkifError {
  return new RkifError(
    "ABORTED",
    "stopped by the caller; the run is saved and goes on with the same command",
  );
}

function trainableOf(config: ResolvedConfig): { kind: "full" } | ({ kind: "lora" } & LoraConfig) {
  if (config.trainable === "full") return { kind: "full" };
  return {
    kind: "lora",
    r: config.loraRank,
    alpha: config.loraAlpha,
    dropout: config.loraDropout,
    rsLora: config.rsLora,
    targetModules: config.targetModules,
  };
}

/** The configuration a run goes on with. */
function agreed(kept: ResolvedConfig, given: ResolvedConfig | undefined, folder: RunFolder): ResolvedConfig {
  if (!given) return kept;
  const differences = configDifferences(kept, given);
  if (differences.length === 0) return { ...kept, ...given };
  const lines = differences.map(
    (name) => `${name}: ${JSON.stringify(kept[name])} there, ${JSON.stringify(given[name])} given`,
  );
  throw new RkifError(
    "RUN_CONFLICT",
    `${folder.path} holds a run of another configuration (${lines.join("; ")}); use another folder, or the same options`,
  );
}
