/** A fixture's padded batches as the packed batches that the addon takes, and packed results as the padded ones that fixtures hold. */
import { pack } from "../../lib/data/pack.js";
import type { TrainingRecord } from "../../lib/methods/run.js";
import type { PackedBatch } from "../../lib/native/contract.js";
import type { Family } from "./families.js";
import type { Tensor } from "./safetensors.js";

type Tensors = ReadonlyMap<string, Tensor>;

/** A tensor's rows as lists of integers. */
function rows(tensor: Tensor): number[][] {
  const [count = 0, length = 0] = tensor.shape;
  return Array.from({ length: count }, (_, row) =>
    Array.from(tensor.values.subarray(row * length, (row + 1) * length)),
  );
}

export function tensorOf(tensors: Tensors, name: string): Tensor {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new Error(`the fixture has no tensor ${name}`);
  return tensor;
}

/** Of every row of `name` the elements at which `mask` is 1. */
function masked(tensors: Tensors, name: string, mask: string): number[][] {
  const real = rows(tensorOf(tensors, mask));
  return rows(tensorOf(tensors, name)).map((values, row) =>
    values.filter((_, column) => real[row]?.[column] === 1),
  );
}

/** The real tokens of padded inputs, row by row. */
export function unpadded(tensors: Tensors, prefix: string = ""): number[][] {
  return masked(tensors, `${prefix}input_ids`, `${prefix}attention_mask`);
}

/** Rows end to end, and their lengths. */
export function endToEnd(rows: readonly ArrayLike<number>[]): { ids: Int32Array; lengths: Int32Array } {
  return {
    ids: Int32Array.from(rows.flatMap((row) => Array.from(row))),
    lengths: Int32Array.from(rows, (row) => row.length),
  };
}

/**
 * The records of a padded batch of a fixture, input padding stripped. T5's label rows stay as long as they are, -100 included, since
 * logits are expected there as well; a decoder's labels run parallel to its inputs and lose the same padding.
 */
export function records(tensors: Tensors, family: Family, prefix: string = ""): TrainingRecord[] {
  const labels = labelsOf(tensors, family, prefix);
  return unpadded(tensors, prefix).map((inputIds, row) => ({
    inputIds: Int32Array.from(inputIds),
    labels: Int32Array.from(labels[row] ?? []),
    key: row,
  }));
}

function labelsOf(tensors: Tensors, family: Family, prefix: string): number[][] {
  switch (family) {
    case "t5":
      return rows(tensorOf(tensors, `${prefix}labels`));
    case "decoder":
      return masked(tensors, `${prefix}labels`, `${prefix}attention_mask`);
    case "encoder":
      return Array.from(tensorOf(tensors, `${prefix}labels`).values, (label) => [label]);
  }
}

export function packedBatch(tensors: Tensors, family: Family, prefix: string = ""): PackedBatch {
  const batch = pack(records(tensors, family, prefix));
  if (family !== "encoder") return batch;
  const { ids, lengths } = endToEnd(candidates(tensors));
  return { ...batch, candidateIds: ids, candidateLengths: lengths };
}

/** The candidates' tokens. */
export function candidates(tensors: Tensors): number[][] {
  return masked(tensors, "candidate_ids", "candidate_mask");
}

/** The labels that the loss is a mean over: all but -100, and a decoder's first, which no token comes before. */
export function labelTokens({ labels, labelLengths }: PackedBatch, family: Family): number {
  let count = labels.reduce((sum, label) => sum + (label === -100 ? 0 : 1), 0);
  if (family !== "decoder") return count;
  let first = 0;
  for (const length of labelLengths) {
    if (labels[first] !== -100) count--;
    first += length;
  }
  return count;
}

/** A decoder's logits of the real tokens in their places in the padded batch, 0 at the padding, [B,S,V]. */
export function paddedLogits(logits: Float32Array, tensors: Tensors, prefix: string = ""): Float32Array {
  const { values: mask } = tensorOf(tensors, `${prefix}attention_mask`);
  const vocabulary = logits.length / sum(mask);
  const padded = new Float32Array(mask.length * vocabulary);
  let token = 0;
  mask.forEach((real, position) => {
    if (real !== 1) return;
    padded.set(logits.subarray(token * vocabulary, (token + 1) * vocabulary), position * vocabulary);
    token++;
  });
  return padded;
}

export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
