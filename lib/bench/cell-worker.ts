/** The process behind {@link runCellInProcess}: runs the one cell it is given. */
import { isAborted } from "../errors.js";
import type { CellOrder, FromCell, ToCell } from "./cell-process.js";
import { runCell } from "./run-cell.js";

const stop = new AbortController();

// A terminal sends Ctrl-C to this process as well: the bench decides, and tells it.
process.on("SIGINT", () => undefined);
process.on("message", (message: ToCell) => {
  if ("stop" in message) stop.abort();
  else void work(message.order);
});
// A bench that is gone takes no result; what was reached is kept for the next call.
process.on("disconnect", () => stop.abort());

async function work({ cell, run, tasks }: CellOrder): Promise<void> {
  try {
    const outcome = await runCell(cell, {
      run,
      tasks,
      signal: stop.signal,
      onEvent: (told) => tell({ told }),
    });
    tell({ outcome });
  } catch (error) {
    if (!isAborted(error)) throw error;
    tell({ stopped: (error as Error).message });
  }
}

function tell(message: FromCell): void {
  if (process.connected) process.send!(message);
}
