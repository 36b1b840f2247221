import type { TaskAnswers } from "../data/answers.js";
import type { MaskFigures } from "./masks.js";
import type { TrainingFigures } from "./training.js";

export type Row = (number | null)[];

/** Mean and sample standard deviation (n - 1) over runs, null where not measured, or with less than two runs. */
export interface Spread {
  mean: number | null;
  deviation: number | null;
}

export type Measure = "OP" | "BWT" | "FWT" | "learnedInTurn";

/** The measures of some runs: of those that have learned most tasks, as others cannot be compared with them. */
export interface MeasuredRuns extends Record<Measure, Spread> {
  /** Runs measured, and tasks that each of them has learned. */
  runs: number;
  learned: number;
}

/** One line of the comparison. */
export interface ComparisonLine extends MeasuredRuns {
  variant: string;
  /** Each order's own measures, where there are several. */
  orders: ({ order: string } & MeasuredRuns)[];
  /** Means over the runs measured; null where one of them does not have it. */
  steps: number | null;
  skipped: number | null;
  tokens: number | null;
  seconds: number | null;
}

/** Variants on the same set of tasks, in one or several orders. */
export interface Comparison {
  orders: string[];
  /** Tasks that a finished run has learned. */
  tasks: number;
  lines: ComparisonLine[];
}

/** Everything there is to show of one variant on one order. */
export interface VariantFigures {
  variant: string;
  order: string;
  /** As planned; those learned so far come first. */
  tasks: string[];
  /** Tasks learned by the runs that the means are over, and their seeds. */
  learned: number;
  seeds: number[];
  /** Means over these runs: rows after each task learned, columns on each task. */
  accuracy: Row[];
  /** Deviations of the same. */
  accuracyDeviation: Row[];
  /** After each task: mean over the tasks learned by then. */
  seenMean: Row;
  /** For every task learned, its best result minus its last. */
  forgetting: Row;
  /** Of the run with the first seed. */
  training: TrainingFigures;
  trainingSeed: number | null;
  masks: MaskFigures | null;
  /** Counts are summed over the runs; examples are of the first. */
  answers: TaskAnswers[];
}

export interface ConfigurationFigures {
  /** Options with the same value in every run. */
  shared: Record<string, unknown>;
  /** The others, by run. */
  runs: { run: string; variant: string; order: string; options: Record<string, unknown> }[];
}

/** Everything a report shows, and what `--json` prints. */
export interface ReportFigures {
  /** Of this structure; a number that only grows. */
  format: 1;
  /** Name of the reported folder. */
  title: string;
  /** What is unfinished, failed or could not be read. */
  notes: string[];
  comparisons: Comparison[];
  variants: VariantFigures[];
  configuration: ConfigurationFigures;
}
