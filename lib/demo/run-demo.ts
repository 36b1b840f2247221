import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mean } from "../evaluation/metrics.js";
import { Learner } from "../training/learner.js";
import type { LearnerEvent } from "../training/events.js";
import type { MatrixReport } from "../training/matrix.js";
import { DEMO_METHODS, DEMO_SETTINGS } from "./settings.js";
import { demoTasks } from "./tasks.js";

export interface DemoOptions {
  /** Default 1, 2, 3. */
  seeds?: readonly number[];
  /** Keeps the run folders here; otherwise they are removed. */
  folder?: string;
  signal?: AbortSignal;
  onEvent?: (method: string, seed: number, event: LearnerEvent) => void;
}

export interface DemoRun {
  seed: number;
  matrix: MatrixReport;
  /** Mean of R[j][j]: how well each task was learned when it was its turn. */
  learning: number;
}

export interface DemoResult {
  method: string;
  runs: DemoRun[];
}

/**
 * Teaches the embedded model four tasks in a row with each method: same model, data, memory and hyperparameters, and for replay as many
 * optimizer steps as Recurrent-KIF makes.
 */
export async function runDemo({ seeds = [1, 2, 3], folder, signal, onEvent }: DemoOptions = {}): Promise<
  DemoResult[]
> {
  const root = folder ?? (await mkdtemp(join(tmpdir(), "rkif-demo-")));
  const tasks = demoTasks();
  try {
    const results: DemoResult[] = [];
    for (const { method, options } of DEMO_METHODS) {
      const runs: DemoRun[] = [];
      for (const seed of seeds) {
        const run = join(root, `${method}-seed-${seed}`);
        const learner = await Learner.create(
          { ...DEMO_SETTINGS, ...options, method, seed, run },
          { onEvent: (event) => onEvent?.(method, seed, event) },
        );
        try {
          for (const task of tasks) {
            if (!learner.tasks.includes(task.name)) await learner.learn(task, signal ? { signal } : {});
          }
          const { matrix } = learner;
          runs.push({ seed, matrix, learning: mean(matrix.R.map((row, j) => row[j] ?? null)) ?? NaN });
        } finally {
          await learner.dispose();
        }
      }
      results.push({ method, runs });
    }
    return results;
  } finally {
    if (folder === undefined) await rm(root, { recursive: true, force: true });
  }
}

/** Entry by entry mean of matrices of the same tasks. */
export function meanMatrix(matrices: readonly MatrixReport[]): (number | null)[][] {
  const [first] = matrices;
  return (first?.R ?? []).map((row, i) =>
    row.map((_, j) => mean(matrices.map(({ R }) => R[i]?.[j] ?? null))),
  );
}
