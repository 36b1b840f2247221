import { showBench } from "../../../lib/cli/bench.js";
import { Display, interruptSignal } from "../../../lib/cli/display.js";
import { isAborted, planBench, runBench, type BenchInput, type BenchResults } from "../../../lib/index.js";

/** Plans a bench and runs it with progress on stderr; SIGINT saves and stops. */
export async function runHere(
  input: BenchInput,
  { out, jobs = 1 }: { out: string; jobs?: number },
  source: string,
): Promise<BenchResults> {
  const plan = await planBench(input, source);
  const display = new Display();
  const { signal, release } = interruptSignal(display);
  try {
    return await runBench(plan, { out, jobs, signal, onEvent: (event) => showBench(display, event) });
  } finally {
    release();
    display.stop();
  }
}

/** Ends the program as `rkif` ends: 0 done, 1 an error, 130 stopped with everything kept. */
export async function settled(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const { code, message, stack } = error as Error & { code?: string };
    process.stderr.write(`${code === undefined ? (stack ?? message) : message}\n`);
    process.exitCode = isAborted(error) ? 130 : 1;
  }
}
