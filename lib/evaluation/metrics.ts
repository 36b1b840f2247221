/** R[i][j]: result on task j after learning task i; null where it was not measured. */
export type AccuracyMatrix = readonly (readonly (number | null)[])[];

export interface ContinualMetrics {
  /** Overall performance: mean result on all tasks after the last. */
  OP: number | null;
  /** Backward transfer: mean change of the earlier tasks' results since each was learned. Negative: forgetting. */
  BWT: number | null;
  /** Forward transfer: mean gain on a task, before it is learned, over the untrained model. */
  FWT: number | null;
  /** For every task, its best result ever minus its last. */
  forgetting: (number | null)[];
}

/**
 * The measures of continual learning over the T tasks learned so far: T is the number of rows, and later columns do not
 * count. A measure is null where a value it needs was not measured, or where it has nothing to be a mean of.
 * @param baseline Results of the untrained model on every task; only forward transfer needs it.
 */
export function continualMetrics(
  R: AccuracyMatrix,
  baseline?: readonly (number | null)[] | null,
): ContinualMetrics {
  const tasks = R.map((_, j) => j);
  const last = R.length - 1;
  const at = (i: number, j: number): number | null => R[i]?.[j] ?? null;
  return {
    OP: mean(tasks.map((j) => at(last, j))),
    BWT: mean(tasks.slice(0, -1).map((j) => difference(at(last, j), at(j, j)))),
    FWT: mean(tasks.slice(1).map((j) => difference(at(j - 1, j), baseline?.[j] ?? null))),
    forgetting: tasks.map((j) => difference(highest(R.map((_, i) => at(i, j))), at(last, j))),
  };
}

/** Arithmetic mean; null of nothing, and where a value is missing. */
export function mean(values: readonly (number | null)[]): number | null {
  if (values.length === 0) return null;
  let sum = 0;
  for (const value of values) {
    if (value === null) return null;
    sum += value;
  }
  return sum / values.length;
}

function difference(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : a - b;
}

function highest(values: readonly (number | null)[]): number | null {
  const measured = values.filter((value) => value !== null);
  return measured.length === 0 ? null : Math.max(...measured);
}
