import { EpochBatches, MemoryBatches } from "../data/batches.js";
import type { EncodedRecord } from "../data/formats/record-format.js";
import { countTokens } from "../data/pack.js";
import type { Batches } from "../methods/run.js";

/** How a task's records become batches. */
export interface BatchShape {
  batchSize: number;
  epochs: number;
  /** Batches of a window in which records of similar length come together; null: not at all. */
  groupByLength: number | null;
  seed: number;
  task: number;
}

/** The records a task is learned from, and the batches they come in. */
export class TaskSets {
  readonly records: readonly EncodedRecord[];
  /** Memory of the earlier tasks, numbered through so that no two records share dropout masks. */
  readonly memory: readonly EncodedRecord[];
  readonly #shape: BatchShape;

  constructor(records: readonly EncodedRecord[], memory: readonly EncodedRecord[], shape: BatchShape) {
    this.records = records;
    this.memory = memory.map((record, key) => ({ ...record, key }));
    this.#shape = shape;
  }

  /** Shuffled epochs over the task's records, with the memory among them if asked. A step beyond the last begins a further epoch. */
  taskBatches({ loop, withMemory }: { loop: number; withMemory: boolean }): Batches {
    const { batchSize, epochs, groupByLength, seed, task } = this.#shape;
    const first = this.records.length;
    const set = withMemory
      ? [...this.records, ...this.memory.map((record) => ({ ...record, key: first + record.key }))]
      : this.records;
    const key = { seed, task, loop };
    const endless = Math.floor(Number.MAX_SAFE_INTEGER / Math.max(1, set.length));
    const groups =
      groupByLength === null
        ? null
        : { lengths: set.map((record) => countTokens([record])), window: groupByLength };
    const order = new EpochBatches(set.length, batchSize, endless, key, groups);
    return { steps: order.stepsPerEpoch * epochs, at: (step) => order.at(step).map((i) => set[i]!) };
  }

  /** Batches of distinct memory records, drawn anew at every step, without end. */
  memoryBatches({ loop }: { loop: number }): Batches {
    const { batchSize, seed, task } = this.#shape;
    const draws = new MemoryBatches(this.memory.length, batchSize, { seed, task, loop });
    return { steps: Infinity, at: (step) => draws.at(step).map((i) => this.memory[i]!) };
  }
}
