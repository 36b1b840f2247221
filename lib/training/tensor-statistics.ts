import { elementCount } from "../models/element-count.js";
import type { Mask, TensorLayout, Vector } from "../native/contract.js";

/** The tensors of the flat vector, in its order: what `layout.json` of a run folder holds, and what counts by tensor refer to. */
export interface TensorShape {
  name: string;
  shape: number[];
}

/** How many elements of each tensor lie in which part of two masks; the rest lies in neither. */
export interface MaskOverlap {
  onlyIn: number[];
  onlyOut: number[];
  both: number[];
}

/** Compares the masks of a cycle tensor by tensor. Reads both as a whole: two bytes a parameter. */
export async function maskOverlap(
  masks: { in: Mask; out: Mask },
  layout: readonly TensorLayout[],
): Promise<MaskOverlap> {
  const inner = await masks.in.read();
  const outer = await masks.out.read();
  const overlap: MaskOverlap = { onlyIn: [], onlyOut: [], both: [] };
  for (const tensor of layout) {
    const end = tensor.offset + elementCount(tensor);
    // Counts by 2 * inner + outer: neither, only outer, only inner, both.
    const counts = [0, 0, 0, 0];
    for (let i = tensor.offset; i < end; i++) counts[2 * inner[i]! + outer[i]!]!++;
    overlap.onlyIn.push(counts[2]!);
    overlap.onlyOut.push(counts[1]!);
    overlap.both.push(counts[3]!);
  }
  return overlap;
}

/** Mean of each tensor's elements, to five digits; null where it is not finite. Reads one tensor at a time. */
export async function tensorMeans(
  vector: Vector,
  layout: readonly TensorLayout[],
): Promise<(number | null)[]> {
  const means: (number | null)[] = [];
  for (const tensor of layout) {
    const size = elementCount(tensor);
    let sum = 0;
    for (const value of await vector.read(tensor.offset, size)) sum += value;
    means.push(shortened(sum / size));
  }
  return means;
}

/** Root mean square of a vector's finite elements, to five digits. */
export async function rootMeanSquare(vector: Vector): Promise<number | null> {
  const { norm, nonFinite } = await vector.norm();
  return shortened(norm / Math.sqrt(vector.length - nonFinite));
}

/** A figure for pictures: five digits say more than a reader sees, and keep the log small. */
function shortened(value: number): number | null {
  return Number.isFinite(value) ? Number(value.toPrecision(5)) : null;
}
