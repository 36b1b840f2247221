import { continualMetrics, type ContinualMetrics } from "../evaluation/metrics.js";
import { writeJson } from "./run-folder.js";

type Row = (number | null)[];

/** The accuracy matrix of a run, in percent, as it grows. Rows: after task i; columns: on task j. */
export interface Matrix {
  /** Tasks by order; rows exist for those learned. */
  tasks: string[];
  R: Row[];
  /** The same with only the task's own labels as candidates; null where answers were generated. */
  ownLabelR: Row[];
  /** The untrained model on each task. */
  baseline: Row;
}

export const emptyMatrix = (): Matrix => ({ tasks: [], R: [], ownLabelR: [], baseline: [] });

/** Sets an entry, filling the rows up to it with nothing and its row with nulls. */
export function setEntry(rows: Row[], i: number, j: number, value: number | null): void {
  while (rows.length <= i) rows.push([]);
  const row = rows[i]!;
  while (row.length < j) row.push(null);
  row[j] = value;
}

/** The matrix with its measures: what matrix.json holds. Every row has a column for every task. */
export type MatrixReport = Matrix & ContinualMetrics;

export function reportMatrix({ tasks, R, ownLabelR, baseline }: Matrix): MatrixReport {
  const padded = (row: Row): Row => tasks.map((_, j) => row[j] ?? null);
  const full = R.map(padded);
  return {
    tasks: [...tasks],
    R: full,
    ...continualMetrics(full, padded(baseline)),
    baseline: padded(baseline),
    ownLabelR: ownLabelR.map(padded),
  };
}

export async function writeMatrix(file: string, matrix: Matrix): Promise<void> {
  await writeJson(file, reportMatrix(matrix));
}
