import { RkifError } from "../../errors.js";
import { concatenate } from "../pack.js";

/** Special tokens before and behind a text. */
export interface Around {
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
}

/** Refuses a length that leaves no room for a token of text. */
export function checkLength(name: string, tokens: number, { prefix, suffix }: Around, file: string): void {
  const least = prefix.length + suffix.length + 1;
  if (Number.isSafeInteger(tokens) && tokens >= least) return;
  throw new RkifError(
    "INVALID_ARGUMENT",
    `${name} is ${tokens}; expected a whole number of at least ${least}: one token of text and the special tokens of ${file}`,
  );
}

/** A text's tokens between the special ones. What is too long loses its last tokens, as transformers truncates. */
export function surround(text: Int32Array, { prefix, suffix }: Around, most: number): Int32Array {
  const kept = text.subarray(0, most - prefix.length - suffix.length);
  return concatenate([Int32Array.from(prefix), kept, Int32Array.from(suffix)]).ids;
}

/** Whether {@link surround} cuts a text. */
export function isCut(text: Int32Array, { prefix, suffix }: Around, most: number): boolean {
  return text.length + prefix.length + suffix.length > most;
}
