import type { Json } from "../methods/run.js";
import type { Vector } from "../native/contract.js";
import type { LearnerEvent } from "./events.js";
import { emptyMatrix, type Matrix } from "./matrix.js";
import type { RunFolder } from "./run-folder.js";
import { openState, saveState, type StateReader } from "./run-state.js";
import type { TaskCounters } from "./task-run.js";

/** Where a task stands that is being learned. */
export interface CurrentTask {
  [key: string]: Json;
  name: string;
  /** Of the training records, so that a task does not go on with other data. */
  digest: string;
  stage: "new" | "before" | "train" | "after";
  training: TaskCounters;
}

/** Everything of a run that is not a vector or a record. */
export interface RunCounters {
  [key: string]: Json;
  matrix: Matrix & { [key: string]: Json };
  current: CurrentTask | null;
  /** Bytes of metrics.jsonl when this was saved. */
  metricsLength: number;
}

const taskPrefix = "task/";

/** Counters, parameters and a task's vectors, kept in the run folder as one state. */
export class RunStore {
  readonly folder: RunFolder;
  counters: RunCounters = { matrix: { ...emptyMatrix() }, current: null, metricsLength: 0 };
  readonly #parameters: Vector;
  readonly #onEvent: (event: LearnerEvent) => void;
  #saved: StateReader | undefined;

  constructor(folder: RunFolder, parameters: Vector, onEvent: (event: LearnerEvent) => void) {
    this.folder = folder;
    this.#parameters = parameters;
    this.#onEvent = onEvent;
  }

  /** Saves where the run stands, with the vectors of the task under way. */
  async save(taskVectors: ReadonlyMap<string, Vector> = new Map()): Promise<void> {
    this.counters.metricsLength = await this.folder.metricsLength();
    const vectors = new Map([["parameters", this.#parameters]]);
    for (const [name, vector] of taskVectors) vectors.set(taskPrefix + name, vector);
    await saveState(this.folder.state, { counters: this.counters, vectors });
  }

  /** Goes back to the saved state; the task's vectors wait for {@link takeTaskVectors}. */
  async restore(): Promise<void> {
    this.#saved?.dispose();
    const state = await openState(this.folder.state);
    this.#saved = state;
    this.counters = state.counters as RunCounters;
    state.readInto("parameters", this.#parameters);
    await this.folder.cutMetrics(this.counters.metricsLength);
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
    this.#saved?.dispose();
    this.#saved = undefined;
  }
}
