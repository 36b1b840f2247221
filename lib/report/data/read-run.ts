import { existsSync } from "node:fs";
import { emptyMatrix, type Matrix } from "../../training/matrix.js";
import { readJson, RunFolder } from "../../training/run-folder.js";
import type { TensorShape } from "../../training/tensor-statistics.js";
import { maskFigures, type MaskFigures } from "../figures/masks.js";
import { trainingFigures, type TrainingFigures } from "../figures/training.js";
import { readAnswers, type TaskAnswers } from "./answers.js";
import { readTrainSeconds } from "./bench.js";
import type { FoundRun } from "./find-runs.js";
import { readMetricsLog } from "./metrics-log.js";

type Row = (number | null)[];

/** What a report takes from a run, finished or not. */
export interface RunData {
  name: string;
  config: Readonly<Record<string, unknown>>;
  /** Learned, and being learned. */
  tasks: string[];
  /** Tasks after which everything that belongs in the matrix has been measured. */
  learned: number;
  /** A row for every task learned, with a column for every task. */
  R: Row[];
  baseline: Row;
  training: TrainingFigures;
  masks: MaskFigures | null;
  answers: TaskAnswers[];
  /** Seconds of training, where a bench has measured them. */
  seconds: number | null;
}

/**
 * Reads a run folder without taking it: whoever works on it is not disturbed.
 * @throws {RkifError} RUN_INVALID where a file cannot be read.
 */
export async function readRun({ folder: path, name }: FoundRun): Promise<RunData> {
  const folder = new RunFolder(path);
  const config = await readJson<Record<string, unknown>>(folder.config);
  const matrix = existsSync(folder.matrix) ? await readJson<Matrix>(folder.matrix) : emptyMatrix();
  const log = await readMetricsLog(folder.metrics);
  // The matrix is first written when there is something in it; the log knows the task before.
  const started = log.filter(({ index }) => index >= matrix.tasks.length).map(({ task }) => task);
  const tasks = [...matrix.tasks, ...started];
  const learned = countLearned(matrix.R);
  const layout = existsSync(folder.layout) ? await readJson<TensorShape[]>(folder.layout) : [];
  return {
    name,
    config,
    tasks,
    learned,
    R: matrix.R.slice(0, learned).map((row) => tasks.map((_, j) => row[j] ?? null)),
    baseline: tasks.map((_, j) => matrix.baseline[j] ?? null),
    training: trainingFigures(log),
    masks: maskFigures(log, layout),
    answers: await readAnswers(folder, tasks.slice(0, learned), config["metric"]),
    seconds: await readTrainSeconds(path),
  };
}

/** Rows up to the last that has a result on every task learned by then. Tasks learned together have that row alone. */
function countLearned(R: readonly Row[]): number {
  return (
    R.findLastIndex((row, i) => !Array.from({ length: i + 1 }, (_, j) => row[j] ?? null).includes(null)) + 1
  );
}
