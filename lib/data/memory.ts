import { RkifError } from "../errors.js";
import { hash, sampleDistinct, Stream } from "./random.js";

export interface MemoryOptions {
  /** Share of the records to keep, 0..1. Default 0.02. */
  fraction?: number;
  seed: number;
  /** Index of the task in the order. */
  task: number;
  /**
   * Whether outputs are classes to be drawn from evenly. Default: they are where a text occurs at least
   * {@link recordsPerClass} times on average.
   */
  stratify?: boolean;
}

/** With fewer records than this to a distinct output, on average, outputs count as free text and not as classes. */
export const recordsPerClass = 2;

/**
 * Chooses the records of a task to keep for later replay; their indices, ascending.
 *
 * With n = floor(fraction * records), as published: max(1, floor(n / labels)) records of every label (exact output text), or
 * all where a label has fewer, then records drawn at random up to n. So every label is kept at least once, also where that
 * makes more than n records. Free text has about as many outputs as records, and this rule would keep everything: there,
 * max(1, n) records are drawn at random instead. A fraction of 0 keeps nothing.
 */
export function selectMemory(
  records: readonly { readonly output: string }[],
  { fraction = 0.02, seed, task, stratify }: MemoryOptions,
): number[] {
  if (!(fraction >= 0 && fraction <= 1)) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `the memory fraction is ${fraction}; expected a number from 0 to 1`,
    );
  }
  if (fraction === 0 || records.length === 0) return [];
  // 0.29 * 100 is 28.999999999999996: a product that is whole but for rounding must not lose a record.
  const size = Math.floor(fraction * records.length + 1e-9);

  const key = hash(seed, Stream.memory, task);
  const byLabel = groupByLabel(records);
  if (!(stratify ?? records.length >= recordsPerClass * byLabel.size)) {
    return ascending(sampleDistinct(records.length, Math.max(1, size), key));
  }

  const perLabel = Math.max(1, Math.floor(size / byLabel.size));
  const chosen = new Set<number>();
  // By the label's text, so that the choice depends on the file's order through the indices alone.
  const labels = [...byLabel.keys()].sort();
  labels.forEach((label, number) => {
    const indices = byLabel.get(label)!;
    for (const i of sampleDistinct(indices.length, perLabel, hash(key, 1, number))) chosen.add(indices[i]!);
  });
  const rest = records.map((_, i) => i).filter((i) => !chosen.has(i));
  for (const i of sampleDistinct(rest.length, size - chosen.size, hash(key, 2))) chosen.add(rest[i]!);
  return ascending([...chosen]);
}

function groupByLabel(records: readonly { readonly output: string }[]): Map<string, number[]> {
  const groups = new Map<string, number[]>();
  records.forEach(({ output }, index) => {
    const group = groups.get(output);
    if (group) group.push(index);
    else groups.set(output, [index]);
  });
  return groups;
}

function ascending(indices: number[]): number[] {
  return indices.sort((a, b) => a - b);
}
