import { RkifError } from "../errors.js";
import type { PackedBatch } from "../native/contract.js";
import type { EncodedRecord } from "./formats/record-format.js";

/** Lays records end to end in the given order. */
export function pack(records: readonly EncodedRecord[]): PackedBatch {
  const inputs = concatenate(records.map((record) => record.inputIds));
  const labels = concatenate(records.map((record) => record.labels));
  return {
    inputIds: inputs.ids,
    inputLengths: inputs.lengths,
    labels: labels.ids,
    labelLengths: labels.lengths,
    recordKeys: Uint32Array.from(records, (record) => record.key),
  };
}

/** Token sequences end to end, with their lengths. */
export function concatenate(sequences: readonly Int32Array[]): { ids: Int32Array; lengths: Int32Array } {
  const lengths = Int32Array.from(sequences, (sequence) => sequence.length);
  const ids = new Int32Array(lengths.reduce((total, length) => total + length, 0));
  let offset = 0;
  for (const sequence of sequences) {
    ids.set(sequence, offset);
    offset += sequence.length;
  }
  return { ids, lengths };
}

/** Consecutive parts of at most `size` items; the last may be smaller. */
export function splitIntoMicroBatches<T>(items: readonly T[], size: number): T[][] {
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `micro-batch size is ${size}; expected a whole number of at least 1`,
    );
  }
  const parts: T[][] = [];
  for (let start = 0; start < items.length; start += size) parts.push(items.slice(start, start + size));
  return parts;
}

/** Labels that the loss of these records is a sum over: the divisor of a whole step. Labels of -100 are not predicted. */
export function countLabelTokens(records: readonly EncodedRecord[]): number {
  return records.reduce((total, { labels }) => total + labels.filter((id) => id !== -100).length, 0);
}

/** Tokens that a model computes on for these records: inputs and labels as they are, without padding. */
export function countTokens(records: readonly EncodedRecord[]): number {
  return records.reduce((total, { inputIds, labels }) => total + inputIds.length + labels.length, 0);
}
