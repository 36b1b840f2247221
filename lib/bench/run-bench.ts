import { resolve } from "node:path";
import { RkifError } from "../errors.js";
import { loadAddon } from "../native/load.js";
import type { LearnerEvent } from "../training/events.js";
import { BenchFolder, type CellOutcome } from "./bench-folder.js";
import { runCellInProcess } from "./cell-process.js";
import { inParallel } from "./in-parallel.js";
import type { BenchPlan, Cell } from "./plan.js";
import { benchResults, type BenchResults } from "./results.js";
import { runCell } from "./run-cell.js";

/** What a bench tells while it works. `number` counts the cells from 1. */
export type BenchEvent =
  | { event: "cell-start"; cell: Cell; number: number; total: number }
  | { event: "cell-event"; cell: Cell; number: number; total: number; told: LearnerEvent }
  | {
      event: "cell-end";
      cell: Cell;
      number: number;
      total: number;
      outcome: CellOutcome;
      /** All figures so far. */
      results: BenchResults;
    };

export interface RunBenchOptions {
  /** The bench folder; made if need be. The same call later goes on with what is missing there. */
  out: string;
  /** Stops within one step; everything is kept. */
  signal?: AbortSignal;
  /**
   * Cells that run at once, each in a process of its own; the machine's threads are shared among them, unless OMP_NUM_THREADS or the
   * option `threads` says how many each takes. Default 1: one after another, in this process.
   */
  jobs?: number;
  onEvent?: (event: BenchEvent) => void;
}

/**
 * Runs every cell of a plan that is not done. A cell that fails is kept as failed, with why and where, and the next one
 * is run; the next call tries it again. Cells share nothing but the model's folder: a bench killed at any moment and called again ends
 * with the figures of one left alone, timings excepted.
 * @throws {RkifError} ABORTED where `signal` stopped it; RUN_CONFLICT where the folder holds cells of other options, or another process
 * works on it; INVALID_ARGUMENT for `jobs` that is no positive integer.
 */
export async function runBench(
  plan: BenchPlan,
  { out, signal, jobs = 1, onEvent = () => undefined }: RunBenchOptions,
): Promise<BenchResults> {
  if (!Number.isSafeInteger(jobs) || jobs < 1) {
    throw new RkifError("INVALID_ARGUMENT", `jobs is ${jobs}; expected a positive integer`);
  }
  // A missing addon or libtorch is told once, and not as a failure of every cell.
  loadAddon();
  const folder = new BenchFolder(resolve(out));
  await folder.open();
  try {
    await folder.takeUp(plan);
    const outcomes = new Map<Cell, CellOutcome>();
    for (const cell of plan.cells) {
      const outcome = await folder.outcome(cell);
      if (outcome) outcomes.set(cell, outcome);
    }
    await folder.keepResults(benchResults(plan, outcomes));
    const total = plan.cells.length;
    await inParallel(plan.cells.entries(), { jobs, signal }, async ([index, cell], signal) => {
      if (outcomes.get(cell)?.state === "done") return;
      if (signal.aborted) throw stopped();
      const at = { cell, number: index + 1, total };
      onEvent({ event: "cell-start", ...at });
      await folder.dropOutcome(cell);
      const options = {
        run: folder.run(cell),
        tasks: cell.data.order.map((name) => plan.tasks.get(name)!),
        signal,
        onEvent: (told: LearnerEvent) => onEvent({ event: "cell-event", ...at, told }),
      };
      const outcome = await (jobs === 1
        ? runCell(cell, options)
        : runCellInProcess(cell, { ...options, jobs }));
      await folder.keepOutcome(cell, outcome);
      outcomes.set(cell, outcome);
      const results = benchResults(plan, outcomes);
      await folder.keepResults(results);
      onEvent({ event: "cell-end", ...at, outcome, results });
    });
    return benchResults(plan, outcomes);
  } finally {
    await folder.close();
  }
}

function stopped(): RkifError {
  return new RkifError("ABORTED", "stopped; the bench is saved and goes on with the same command");
}
