import type { TaskData } from "../data/tasks.js";
import { isAborted } from "../errors.js";
import { mean } from "../evaluation/metrics.js";
import type { LearnerEvent } from "../training/events.js";
import { Learner } from "../training/learner.js";
import type { CellOutcome, CellResult } from "./bench-folder.js";
import type { PlannedCell } from "./plan.js";

export interface RunCellOptions {
  /** The run folder. */
  run: string;
  tasks: readonly TaskData[];
  signal?: AbortSignal;
  onEvent?: (event: LearnerEvent) => void;
}

/**
 * Runs a cell, or goes on with it where it was interrupted. What fails is told in the outcome.
 * @throws {RkifError} ABORTED alone, where `signal` stopped it; everything is kept.
 */
export async function runCell(
  { config, data }: PlannedCell,
  { run, tasks, signal, onEvent }: RunCellOptions,
): Promise<CellOutcome> {
  let learner: Learner | undefined;
  try {
    learner = await Learner.create({ run, plan: data, ...config }, onEvent ? { onEvent } : {});
    await learner.learnAll(tasks, signal ? { signal } : {});
    return resultOf(learner);
  } catch (error) {
    if (isAborted(error)) throw error;
    const { message, code } = error as Error & { code?: string };
    return { state: "failed", code: code ?? "unknown", message, task: learner?.unfinished ?? null };
  } finally {
    await learner?.dispose();
  }
}

function resultOf({ matrix, spent }: Learner): CellResult {
  const { OP, BWT, FWT, R } = matrix;
  const { steps, skipped, tokens, trainSeconds, evaluateSeconds } = spent;
  return {
    state: "done",
    ...{ OP, BWT, FWT },
    learnedInTurn: mean(Array.from(R, (row, j) => row?.[j] ?? null)),
    ...{ steps, skipped, tokens },
    timing: { trainSeconds, evaluateSeconds },
  };
}
