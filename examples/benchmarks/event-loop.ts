/**
 * Delay of the event loop while the embedded model trains, beside a control: two threads that only count, and no training. Both in
 * one process, one after the other; on two cores both leave the event loop to compete for one. Ends with 1 where the training's
 * 99.9th percentile is 50 ms or more.
 *
 *     npx tsx examples/benchmarks/event-loop.ts [--seconds 15] [--method recurrent-kif]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { demoTasks } from "../../lib/demo/tasks.js";
import { DEMO_SETTINGS } from "../../lib/demo/settings.js";
import { isAborted } from "../../lib/errors.js";
import { Learner } from "../../lib/training/learner.js";

const LIMIT = 50;
const { values: given } = parseArgs({
  options: {
    seconds: { type: "string", default: "15" },
    method: { type: "string", default: "recurrent-kif" },
  },
});
const seconds = Number(given.seconds);

say(`${cpus().length} processors, load ${loadavg()[0]!.toFixed(1)} before; ${seconds} s each; delays in ms`);
say(row(["", "50 %", "99 %", "99.9 %", "most"]));
await delays("two busy threads", busyThreads);
let steps = 0;
const worst = await delays("training", train);
say(`${steps} optimizer steps (${given.method}); limit for the training's 99.9 %: ${LIMIT} ms`);
process.exitCode = worst < LIMIT ? 0 : 1;

/** Measures while `work` runs; what `work` does before it calls `begin` is not measured. Returns the 99.9th percentile. */
async function delays(name: string, work: (begin: () => void) => Promise<void>): Promise<number> {
  // A timer every millisecond, whose lateness is recorded.
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  await work(() => histogram.enable());
  histogram.disable();
  const at = (percentile: number): number => histogram.percentile(percentile) / 1e6;
  say(row([name, ...[at(50), at(99), at(99.9), histogram.max / 1e6].map((delay) => delay.toFixed(1))]));
  return at(99.9);
}

async function busyThreads(begin: () => void): Promise<void> {
  const threads = [1, 2].map(() => new Worker("for (;;);", { eval: true }));
  await Promise.all(threads.map((thread) => new Promise((resolve) => thread.once("online", resolve))));
  begin();
  await pause(1000 * seconds);
  await Promise.all(threads.map((thread) => thread.terminate()));
}

/** Learns the demo's tasks over and over: steps, cycles, saves and evaluations as in a real run. */
async function train(begin: () => void): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "rkif-event-loop-"));
  const tasks = demoTasks();
  const signal = AbortSignal.timeout(1000 * seconds + 2000);
  let begun = false;
  try {
    for (let run = 0; !signal.aborted; run++) {
      const learner = await Learner.create(
        { ...DEMO_SETTINGS, method: given.method, run: join(folder, String(run)) },
        {
          onEvent: ({ event }) => {
            if (event !== "step") return;
            steps++;
            if (!begun) begin();
            begun = true;
          },
        },
      );
      try {
        for (const task of tasks) await learner.learn(task, { signal });
      } catch (error) {
        if (!isAborted(error)) throw error;
      } finally {
        await learner.dispose();
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function row(cells: readonly string[]): string {
  return cells.map((cell, i) => (i === 0 ? cell.padEnd(18) : cell.padStart(8))).join("");
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
