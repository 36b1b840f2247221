import type { Json } from "../methods/run.js";
import { createVector } from "../models/kernels.js";
import type { Model, Vector } from "../native/contract.js";
import type { LearnerEvent } from "./events.js";
import { emptyMatrix, type Matrix } from "./matrix.js";
import type { RunFolder } from "./run-folder.js";
import { openState, saveState, type StateReader } from "./run-state.js";
import type { KeptValues, TaskCounters } from "./task-state.js";

/** Where a task stands that is being learned. */
export interface CurrentTask {
  [key: string]: Json;
  /** For people, where several are learned together. */
  name: string;
  /** Tasks that are learned together; null, and absent in runs of earlier versions: the one of that name. */
  tasks: string[] | null;
  /** Of the training records, so that a task does not go on with other data. */
  digest: string;
  stage: "new" | "before" | "train" | "consolidate" | "after";
  training: TaskCounters;
}

/** Names of the tasks that are being learned. */
export function namesOf(current: CurrentTask): readonly string[] {
  return current.tasks ?? [current.name];
}

/** What a run has cost so far. */
export interface Spent {
  [key: string]: Json;
  /** Optimizer steps, and those of them that were skipped for a loss or gradient that is not finite. */
  steps: number;
  skipped: number;
  /** Tokens, inputs and labels, that gradients were computed on. */
  tokens: number;
  /** Wall clock; what was done after the last save of a killed process is not in them. */
  trainSeconds: number;
  evaluateSeconds: number;
}

/** Everything of a run that is not a vector or a record. */
export interface RunCounters {
  [key: string]: Json;
  matrix: Matrix & { [key: string]: Json };
  current: CurrentTask | null;
  spent: Spent;
  /** What the method keeps over tasks. */
  kept: { [key: string]: Json } | null;
  /** Bytes of metrics.jsonl when this was saved. */
  metricsLength: number;
}

/** What of a model is saved with a run. */
export type ModelState = Pick<Model, "parameters" | "frozenAdapters" | "copyFrozen" | "setFrozen">;

const frozenName = "frozen";
const taskPrefix = "task/";
const keptPrefix = "kept/";

const nothingSpent = (): Spent => ({ steps: 0, skipped: 0, tokens: 0, trainSeconds: 0, evaluateSeconds: 0 });

/** Counters, parameters and a task's vectors, kept in the run folder as one state. */
export class RunStore {
  readonly folder: RunFolder;
  counters: RunCounters = {
    matrix: { ...emptyMatrix() },
    current: null,
    spent: nothingSpent(),
    kept: null,
    metricsLength: 0,
  };
  /** What the method keeps over tasks. */
  readonly kept: KeptValues = { vectors: new Map(), state: null };
  readonly #model: ModelState;
  readonly #onEvent: (event: LearnerEvent) => void;
  #saved: StateReader | undefined;
  #clock: { of: "trainSeconds" | "evaluateSeconds"; since: number } | undefined;

  constructor(folder: RunFolder, model: ModelState, onEvent: (event: LearnerEvent) => void) {
    this.folder = folder;
    this.#model = model;
    this.#onEvent = onEvent;
  }

  /** Saves where the run stands, with the vectors of the task under way. */
  async save(taskVectors: ReadonlyMap<string, Vector> = new Map()): Promise<void> {
    this.#readClock();
    this.counters.metricsLength = await this.folder.metricsLength();
    const vectors = new Map([["parameters", this.#model.parameters]]);
    const frozen = this.#model.frozenAdapters > 0 ? this.#model.copyFrozen() : undefined;
    if (frozen) vectors.set(frozenName, frozen);
    for (const [name, vector] of taskVectors) vectors.set(taskPrefix + name, vector);
    for (const [name, vector] of this.kept.vectors) vectors.set(keptPrefix + name, vector);
    this.counters.kept = this.kept.state;
    try {
      await saveState(this.folder.state, { counters: this.counters, vectors });
    } finally {
      frozen?.dispose();
    }
  }

  /** Goes back to the saved state; the task's vectors wait for {@link takeTaskVectors}. */
  async restore(): Promise<void> {
    this.#saved?.dispose();
    const state = await openState(this.folder.state);
    this.#saved = state;
    // Runs that were begun before costs were counted have counted none, and those before methods kept anything have kept nothing.
    this.counters = { spent: nothingSpent(), kept: null, ...state.counters } as RunCounters;
    if (this.#clock) this.#clock.since = performance.now();
    state.readInto("parameters", this.#model.parameters);
    this.#restoreFrozen(state);
    this.#restoreKept(state);
    await this.folder.cutMetrics(this.counters.metricsLength);
  }

  #restoreFrozen(state: StateReader): void {
    const length = state.lengthOf(frozenName);
    if (length === 0) {
      if (this.#model.frozenAdapters > 0) this.#model.setFrozen(null);
      return;
    }
    const frozen = createVector(length, this.#model.parameters);
    state.readInto(frozenName, frozen);
    this.#model.setFrozen(frozen);
    frozen.dispose();
  }

  #restoreKept(state: StateReader): void {
    this.#disposeKept();
    this.kept.state = this.counters.kept;
    for (const name of state.names.filter((saved) => saved.startsWith(keptPrefix))) {
      const vector = createVector(this.#model.parameters.length, this.#model.parameters);
      this.kept.vectors.set(name.slice(keptPrefix.length), vector);
      state.readInto(name, vector);
    }
  }

  #disposeKept(): void {
    for (const vector of this.kept.vectors.values()) vector.dispose();
    this.kept.vectors.clear();
  }

  /** The restored vectors of the task that goes on, once; the caller disposes the reader when they are read. */
  takeTaskVectors(): Pick<StateReader, "names" | "readInto" | "dispose"> | undefined {
    const saved = this.#saved;
    this.#saved = undefined;
    return (
      saved && {
        names: saved.names
          .filter((name) => name.startsWith(taskPrefix))
          .map((name) => name.slice(taskPrefix.length)),
        readInto: (name, vector) => saved.readInto(taskPrefix + name, vector),
        dispose: () => saved.dispose(),
      }
    );
  }

  /** From now on time counts as one of `spent`; without a name it does not count. */
  clock(of?: "trainSeconds" | "evaluateSeconds"): void {
    this.#readClock();
    this.#clock = of && { of, since: performance.now() };
  }

  #readClock(): void {
    if (!this.#clock) return;
    const now = performance.now();
    this.counters.spent[this.#clock.of] += (now - this.#clock.since) / 1000;
    this.#clock.since = now;
  }

  /** Writes an event to metrics.jsonl and tells it. */
  async log(event: LearnerEvent): Promise<void> {
    await this.folder.log(event);
    this.#onEvent(event);
  }

  /** Tells an event that is not kept. */
  tell(event: LearnerEvent): void {
    this.#onEvent(event);
  }

  dispose(): void {
    this.#disposeKept();
    this.#saved?.dispose();
    this.#saved = undefined;
  }
}
