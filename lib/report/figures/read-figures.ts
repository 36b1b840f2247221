import { RkifError } from "../../errors.js";
import type { Bench } from "../data/bench.js";
import { findRuns } from "../data/find-runs.js";
import { readRun, type RunData } from "../data/read-run.js";
import { compareVariants } from "./comparison.js";
import { configurationFigures } from "./configuration.js";
import type { ReportFigures } from "./figures.js";
import { variantFigures } from "./variant-figures.js";
import { groupRuns, type VariantRuns } from "./variants.js";

/**
 * Reads what there is in a run folder, a bench folder or a folder with runs in it, finished or not.
 * @throws {RkifError} RUN_INVALID where there is no run, or the only one cannot be read. Of several runs, one that cannot be
 *   read becomes a note.
 */
export async function readFigures(path: string): Promise<ReportFigures> {
  const { title, runs: found, bench } = await findRuns(path);
  const notes: string[] = [];
  const runs: RunData[] = [];
  // One after another: a bench has many, and each is reduced to its figures before the next is read.
  for (const run of found) {
    try {
      runs.push(await readRun(run));
    } catch (error) {
      if (found.length === 1 || !(error instanceof RkifError)) throw error;
      notes.push(`${run.name} is left out: ${error.message}`);
    }
  }
  const groups = groupRuns(runs, bench);
  return {
    format: 1,
    title,
    notes: [...notes, ...(bench ? cellNotes(bench) : []), ...groups.flatMap(progressNotes)],
    comparisons: compareVariants(groups),
    variants: groups.map(variantFigures),
    configuration: configurationFigures(groups),
  };
}

function cellNotes({ cells, states }: Bench): string[] {
  const failed = cells.flatMap(({ run }) => {
    const { state, failure } = states.get(run) ?? { state: "waiting" };
    return state === "failed" ? [`${run} failed: ${failure?.message ?? "no reason was kept"}`] : [];
  });
  const waiting = cells.filter(({ run }) => (states.get(run)?.state ?? "waiting") === "waiting").length;
  return waiting === 0 ? failed : [...failed, `${waiting} of ${cells.length} cells have not been run yet.`];
}

function progressNotes({ order, runs }: VariantRuns): string[] {
  return runs
    .filter(({ learned }) => learned < order.tasks.length)
    .map(({ name, learned }) => `${name} is under way: ${learned} of ${order.tasks.length} tasks learned.`);
}
