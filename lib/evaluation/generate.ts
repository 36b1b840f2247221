import { concatenate } from "../data/pack.js";
import { isAborted, RkifError } from "../errors.js";
import type { GenerateOptions, Model } from "../native/contract.js";
import { checkBatchTokens, type BatchOptions } from "./batches.js";

/** Answers that grow at a time: with more of them a step takes longer in proportion, and their keys take memory. */
const batchRows = 256;

type Chosen = Pick<GenerateOptions, "maxNewTokens" | "endTokenIds" | "sampling" | "onTokens" | "onEnded">;

/**
 * The new tokens of every prompt, in one call of the model, which takes the longest prompts first and lets the next ones enter as answers end.
 * `batchTokens` are prompt tokens, and `onProgress` is called as answers end.
 * @throws {RkifError} ABORTED where `abort` was raised. What a listener throws is thrown when the call has ended.
 */
export async function generateTokens(
  model: Pick<Model, "generate">,
  prompts: readonly Int32Array[],
  { batchTokens = 16384, abort, onProgress }: BatchOptions,
  chosen: Chosen,
): Promise<Int32Array[]> {
  checkBatchTokens(batchTokens);
  if (prompts.length === 0) return [];
  const { ids: inputIds, lengths: inputLengths } = concatenate(prompts);
  let done = 0;
  // Nobody catches what a listener throws within the addon's call.
  const failures: unknown[] = [];
  const onEnded = (ended: Int32Array): void => {
    done += ended.length;
    if (failures.length > 0) return;
    try {
      chosen.onEnded?.(ended);
      onProgress?.(done, prompts.length);
    } catch (error) {
      failures.push(error);
    }
  };
  const work = model.generate({
    ...chosen,
    ...{ inputIds, inputLengths, batchTokens, batchRows, onEnded },
    ...(abort === undefined ? {} : { abort }),
  });
  const answers = await work.catch((error: unknown) => {
    if (!isAborted(error)) throw error;
    throw new RkifError("ABORTED", `stopped after ${done} of ${prompts.length} records`, { cause: error });
  });
  if (failures.length > 0) throw failures[0];
  return answers;
}
