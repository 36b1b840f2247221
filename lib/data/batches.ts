import { RkifError } from "../errors.js";
import { groupByLength, type LengthGroups } from "./length-groups.js";
import { hash, permutation, sampleDistinct, Stream } from "./random.js";

/** What a loop's draws are a function of, besides the step. */
export interface LoopKey {
  seed: number;
  /** Index of the task in the order. */
  task: number;
  /** Number of the loop within the task's method (inner, outer, ...). */
  loop: number;
}

/**
 * The order in which a task's records are trained on: every epoch is a new shuffle of all records cut into batches, by length if
 * `groups` says so; the last batch of an epoch keeps what is left over. A pure function of the arguments, so a run can go on from
 * any step.
 */
export class EpochBatches {
  readonly stepsPerEpoch: number;
  /** Batches in all epochs together. */
  readonly steps: number;
  // A shuffle is O(records); consecutive steps ask for the same one.
  #shuffled: { epoch: number; order: Int32Array } | undefined;

  constructor(
    readonly count: number,
    readonly batchSize: number,
    readonly epochs: number,
    readonly key: LoopKey,
    readonly groups: LengthGroups | null = null,
  ) {
    requireWhole("record count", count, 1);
    requireWhole("batch size", batchSize, 1);
    requireWhole("number of epochs", epochs, 0);
    if (groups) requireWhole("window", groups.window, 1);
    this.stepsPerEpoch = Math.ceil(count / batchSize);
    this.steps = this.stepsPerEpoch * epochs;
  }

  /** Indices of the records of a step (0-based, below `steps`). */
  at(step: number): number[] {
    requireWhole("step", step, 0);
    if (step >= this.steps) {
      throw new RkifError("INVALID_ARGUMENT", `step ${step} is beyond the ${this.steps} steps of this order`);
    }
    const epoch = Math.floor(step / this.stepsPerEpoch);
    const start = (step % this.stepsPerEpoch) * this.batchSize;
    return Array.from(this.#order(epoch).subarray(start, start + this.batchSize));
  }

  #order(epoch: number): Int32Array {
    if (this.#shuffled?.epoch !== epoch) {
      this.#shuffled = { epoch, order: this.#shuffle(epoch) };
    }
    return this.#shuffled.order;
  }

  #shuffle(epoch: number): Int32Array {
    const { seed, task, loop } = this.key;
    const order = permutation(this.count, hash(seed, Stream.order, task, loop, epoch));
    if (!this.groups) return order;
    const key = hash(seed, Stream.lengthGroups, task, loop, epoch);
    return groupByLength(order, this.groups, { batchSize: this.batchSize, key });
  }
}

/**
 * Batches of distinct records drawn from the memory, each step anew and independent of the others. A memory smaller than the
 * batch gives all its records.
 */
export class MemoryBatches {
  constructor(
    readonly count: number,
    readonly batchSize: number,
    readonly key: LoopKey,
  ) {
    requireWhole("memory size", count, 1);
    requireWhole("batch size", batchSize, 1);
  }

  /** Indices of the records of a step (0-based, no upper end). */
  at(step: number): number[] {
    requireWhole("step", step, 0);
    const { seed, task, loop } = this.key;
    return sampleDistinct(this.count, this.batchSize, hash(seed, Stream.memoryBatch, task, loop, step));
  }
}

function requireWhole(name: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `${name} is ${value}; expected a whole number of at least ${least}`,
    );
  }
}
