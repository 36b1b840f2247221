import type { RecordFormat } from "../data/formats/record-format.js";
import { loadAdapter } from "../models/adapter.js";
import type { TrainedModel } from "../models/trained-model.js";
import type { AbortFlag } from "../native/contract.js";
import { findMethod, type ResolvedConfig } from "./config.js";
import { evaluateLearned, labelsOf } from "./evaluate-learned.js";
import type { KeptTask } from "./learned-task.js";
import { setEntry, writeMatrix } from "./matrix.js";
import { writePredictions } from "./predictions.js";
import type { RunStore } from "./run-store.js";

interface Measured {
  accuracy: number;
  own: number | null;
}

/** Measures the entries of the accuracy matrix that are still missing. What an interruption left is not measured again. */
export class MatrixFiller {
  readonly #store: RunStore;
  readonly #loaded: TrainedModel;
  readonly #format: RecordFormat;
  readonly #config: ResolvedConfig;

  constructor(store: RunStore, loaded: TrainedModel, format: RecordFormat, config: ResolvedConfig) {
    this.#store = store;
    this.#loaded = loaded;
    this.#format = format;
    this.#config = config;
  }

  /**
   * Before a task is learned: the untrained model on it, and the model as it stands.
   * @param beside tasks before it in the order that are learned together with it
   */
  async before(
    task: KeptTask,
    learned: readonly KeptTask[],
    beside: readonly KeptTask[],
    abort: AbortFlag,
  ): Promise<void> {
    const { matrix } = this.#store.counters;
    const index = learned.length + beside.length;
    const candidates = labelsOf([...learned, ...beside, task]);
    const { trainable } = this.#loaded;
    // Where every weight trains, the untrained model is gone after the first task.
    if (matrix.baseline[index] === undefined && (trainable.kind === "lora" || learned.length === 0)) {
      const { accuracy } = await this.#aside(
        () => this.#loadUntrained(),
        () => this.#measure(null, task, candidates, abort),
      );
      setEntry([matrix.baseline], 0, index, accuracy);
    }
    if (learned.length > 0) await this.#entry(learned.length - 1, index, task, candidates, abort);
  }

  /** After a task was learned: all tasks so far, itself included. */
  async after(learned: readonly KeptTask[], abort: AbortFlag): Promise<void> {
    const candidates = labelsOf(learned);
    for (const [j, task] of learned.entries())
      await this.#entry(learned.length - 1, j, task, candidates, abort);
  }

  async #entry(i: number, j: number, task: KeptTask, candidates: string[], abort: AbortFlag): Promise<void> {
    const { matrix } = this.#store.counters;
    if (matrix.R[i]?.[j] === undefined) {
      const measure = (): Promise<Measured> => this.#measure(matrix.tasks[i]!, task, candidates, abort);
      const load = this.#parametersOf(i, j, task.name);
      const { accuracy, own } = await (load ? this.#aside(load, measure) : measure());
      setEntry(matrix.R, i, j, accuracy);
      setEntry(matrix.ownLabelR, i, j, own);
    }
    await writeMatrix(this.#store.folder.matrix, matrix);
  }

  /** What to load for task j after task i; undefined: the parameters as they stand. */
  #parametersOf(i: number, j: number, name: string): (() => Promise<void>) | undefined {
    if (findMethod(this.#config.method).evaluatesWith !== "own-adapter" || i === j) return undefined;
    // A task ahead has no adapter yet.
    if (j > i) return () => this.#loadUntrained();
    return () => loadAdapter(this.#loaded, this.#store.folder.adapter(j, name));
  }

  /** As the run began: with the adapter it was given, or one without effect, as one of zeros is. */
  async #loadUntrained(): Promise<void> {
    const { model, trainable } = this.#loaded;
    if (model.frozenAdapters > 0) model.setFrozen(null);
    if (this.#config.adapter !== null) await loadAdapter(this.#loaded, this.#store.folder.startAdapter);
    else if (trainable.kind === "lora") model.parameters.fill(0);
  }

  /** Measures with other parameters, and puts back those that were there. */
  async #aside(load: () => Promise<void>, measure: () => Promise<Measured>): Promise<Measured> {
    const { model } = this.#loaded;
    const kept = model.parameters.copy();
    const frozen = model.frozenAdapters > 0 ? model.copyFrozen() : undefined;
    try {
      await load();
      return await measure();
    } finally {
      model.parameters.copyFrom(kept);
      if (frozen) model.setFrozen(frozen);
      kept.dispose();
      frozen?.dispose();
    }
  }

  async #measure(
    after: string | null,
    task: KeptTask,
    candidates: string[],
    abort: AbortFlag,
  ): Promise<Measured> {
    const { accuracy, correct, total, ownLabelAccuracy, predictions } = await evaluateLearned(
      this.#loaded,
      this.#format,
      task,
      {
        config: this.#config,
        candidates,
        abort,
        onProgress: (done, all) =>
          this.#store.tell({
            event: "progress",
            task: task.name,
            stage: "evaluate",
            label: `${task.name}: evaluating`,
            done,
            total: all,
          }),
      },
    );
    const { folder, counters } = this.#store;
    const indexOf = (name: string): number => counters.matrix.tasks.indexOf(name);
    await writePredictions(
      folder,
      { index: after === null ? -1 : indexOf(after), name: after },
      { index: indexOf(task.name), name: task.name },
      predictions,
    );
    const own = ownLabelAccuracy === undefined ? {} : { ownLabelAccuracy };
    await this.#store.log({ event: "evaluation", after, task: task.name, accuracy, ...own, correct, total });
    return { accuracy, own: ownLabelAccuracy ?? null };
  }
}
