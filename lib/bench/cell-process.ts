import { fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { RkifError } from "../errors.js";
import { readEnvironment } from "../native/environment.js";
import type { LearnerEvent } from "../training/events.js";
import type { CellOutcome } from "./bench-folder.js";
import type { PlannedCell } from "./plan.js";
import type { RunCellOptions } from "./run-cell.js";

/** What a cell's process is given. */
export interface CellOrder extends Pick<RunCellOptions, "run" | "tasks"> {
  readonly cell: PlannedCell;
}

/** What it is told: its work, then perhaps to stop. */
export type ToCell = { readonly order: CellOrder } | { readonly stop: true };

/** What it tells: what happens, then how it ended. */
export type FromCell =
  { readonly told: LearnerEvent } | { readonly outcome: CellOutcome } | { readonly stopped: string };

/** The worker beside this file, which is TypeScript where the sources themselves are run. */
const worker = fileURLToPath(new URL(`./cell-worker${extname(import.meta.url)}`, import.meta.url));

/**
 * As {@link runCell}, in a process of its own: an addon has one compute thread a process. A process that is killed, say for the memory
 * it takes, is a failure of its cell alone.
 * @param jobs cells that run at once, which share the machine's threads
 */
export function runCellInProcess(
  cell: PlannedCell,
  { run, tasks, signal, onEvent, jobs }: RunCellOptions & { jobs: number },
): Promise<CellOutcome> {
  return new Promise((resolve, reject) => {
    const threads = Math.max(1, Math.floor(availableParallelism() / jobs));
    const child = fork(worker, {
      serialization: "advanced",
      env: { OMP_NUM_THREADS: String(threads), ...readEnvironment().variables },
    });
    const tell = (message: ToCell): void => {
      if (child.connected) child.send(message);
    };
    const stop = (): void => tell({ stop: true });
    const settle = (end: () => void): void => {
      signal?.removeEventListener("abort", stop);
      if (child.connected) child.disconnect();
      end();
    };
    child.on("message", (message: FromCell) => {
      if ("told" in message) onEvent?.(message.told);
      else if ("outcome" in message) settle(() => resolve(message.outcome));
      else settle(() => reject(new RkifError("ABORTED", message.stopped)));
    });
    child.on("error", (error) => settle(() => reject(error)));
    child.on("exit", (code, by) => {
      const how = by === null ? `with exit code ${code}` : `by ${by}`;
      const why = by === "SIGKILL" ? ", which is sent where memory runs out" : "";
      const message = `the cell's process ended ${how}${why} before its work was done`;
      settle(() => resolve({ state: "failed", code: "PROCESS_ENDED", message, task: null }));
    });
    tell({ order: { cell, run, tasks } });
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
  });
}
