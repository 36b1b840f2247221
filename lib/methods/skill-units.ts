import type { TensorLayout } from "../native/contract.js";
import { elementCount } from "../models/element-count.js";
import { adapterPairs } from "./adapter-pairs.js";

/** Evenly spaced elements of the flat vector. */
export interface Span {
  readonly offset: number;
  readonly count: number;
  readonly stride: number;
}

/** Elements that are weighed as one. */
export type SkillUnit = readonly Span[];

/** Every tensor a unit, or every rank of every adapter: a row of its A and the same column of its B. */
export function skillUnits(tensors: readonly TensorLayout[], by: "tensor" | "rank"): SkillUnit[] {
  if (by === "tensor") {
    return tensors.map((tensor) => [{ offset: tensor.offset, count: elementCount(tensor), stride: 1 }]);
  }
  return adapterPairs(tensors).flatMap(({ a, b }) => {
    const [rank, inputs] = [a.shape[0]!, a.shape[1]!];
    return Array.from({ length: rank }, (_, k): SkillUnit => [
      { offset: a.offset + k * inputs, count: inputs, stride: 1 },
      { offset: b.offset + k, count: b.shape[0]!, stride: rank },
    ]);
  });
}

/** Calls `visit` with the index of each element of a unit. */
export function forEachElement(unit: SkillUnit, visit: (index: number) => void): void {
  for (const { offset, count, stride } of unit) {
    for (let i = 0; i < count; i++) visit(offset + i * stride);
  }
}

/** Mean of a unit's elements. */
export function unitMean(unit: SkillUnit, values: Float32Array): number {
  let [sum, count] = [0, 0];
  forEachElement(unit, (index) => {
    sum += values[index]!;
    count++;
  });
  return sum / count;
}

/** Values moved and stretched to [0, 1]; all 0 where they are equal. */
export function minMaxNormalised(values: readonly number[]): number[] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return values.map((value) => (high > low ? (value - low) / (high - low) : 0));
}

/** Quantile at `at` (0..1) with linear interpolation. */
export function quantileOf(values: readonly number[], at: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = at * (sorted.length - 1);
  const below = Math.floor(rank);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (rank - below) * (sorted[above]! - sorted[below]!);
}
