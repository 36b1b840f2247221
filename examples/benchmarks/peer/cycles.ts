/** Whether a cycle takes as long when many tasks have been learned as when few have: this side only. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CyclesAnswer, CyclesRequest } from "./protocol.js";
import { median } from "./ratios.js";
import { loadRequest, type Setting } from "./setting.js";
import { Side } from "./side.js";

/** Tasks learned before the cycles that are timed. */
export const learnedTasks = [2, 8, 15];

export interface CyclesResult extends CyclesAnswer {
  learned: number[];
  /** Median cycle at each, as a multiple of the first's. */
  toFirst: number[];
}

/** `rounds` cycles at each number of learned tasks, on batches of records of one length. */
export async function measureCycles(
  setting: Setting,
  learned: number[] = learnedTasks,
): Promise<CyclesResult> {
  const folder = await mkdtemp(join(tmpdir(), "rkif-benchmark-cycles-"));
  try {
    await using side = Side.here(setting.threads);
    const run = join(folder, "run");
    const request: CyclesRequest = {
      ...{ ...loadRequest(setting, null), do: "cycles", run, learned },
      ...{ batchSize: setting.batchSize, cycles: setting.rounds },
    };
    const answer = await side.request<CyclesAnswer>(request);
    const medians = answer.seconds.map(median);
    return { learned, ...answer, toFirst: medians.map((seconds) => seconds / medians[0]!) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
