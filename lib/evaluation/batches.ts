import { concatenate } from "../data/pack.js";
import { RkifError } from "../errors.js";
import type { AbortFlag } from "../native/contract.js";

export interface BatchOptions {
  /** Most tokens that the model computes at a time: prompts and, when scoring, their candidates. A larger prompt goes alone. Default 16384. */
  batchTokens?: number;
  abort?: AbortFlag;
  /** Called after every batch; in generation, as answers end. */
  onProgress?: (done: number, total: number) => void;
}

/** Prompts end to end, as the model takes them. */
export interface PackedPrompts {
  inputIds: Int32Array;
  inputLengths: Int32Array;
  abort?: AbortFlag;
}

/**
 * Runs `work` on batches of prompt numbers, longest prompts first, so that the largest batch comes first and memory cannot run out
 * late. Every prompt costs its tokens and `extraTokens`.
 * @throws {RkifError} ABORTED between two batches where `abort` was raised.
 */
export async function inBatches(
  prompts: readonly Int32Array[],
  extraTokens: number,
  { batchTokens = 16384, abort, onProgress }: BatchOptions,
  work: (batch: readonly number[], packed: PackedPrompts) => Promise<void>,
): Promise<void> {
  checkBatchTokens(batchTokens);
  let done = 0;
  const lengths = prompts.map((prompt) => prompt.length + extraTokens);
  for (const batch of batchesByLength(lengths, batchTokens)) {
    if (abort?.aborted) throw new RkifError("ABORTED", `stopped after ${done} of ${prompts.length} records`);
    const { ids: inputIds, lengths: inputLengths } = concatenate(batch.map((i) => prompts[i]!));
    await work(batch, { inputIds, inputLengths, ...(abort === undefined ? {} : { abort }) });
    done += batch.length;
    onProgress?.(done, prompts.length);
  }
}

/** @throws {RkifError} INVALID_ARGUMENT for what is no number of tokens. */
export function checkBatchTokens(batchTokens: number): void {
  if (Number.isSafeInteger(batchTokens) && batchTokens >= 1) return;
  throw new RkifError(
    "INVALID_ARGUMENT",
    `batchTokens is ${batchTokens}; expected a whole number of at least 1`,
  );
}

/** Item numbers by falling length (equal lengths in order), cut so that no batch's lengths sum to more than the budget unless it is one item. */
export function batchesByLength(lengths: readonly number[], budget: number): number[][] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const batches: number[][] = [];
  let room = -1;
  for (const i of order) {
    if (room < lengths[i]! || batches.length === 0) {
      batches.push([]);
      room = budget;
    }
    batches.at(-1)!.push(i);
    room -= lengths[i]!;
  }
  return batches;
}
