import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { RkifError } from "../../errors.js";
import { readBench, type Bench } from "./bench.js";

/** A run folder below the one that is reported. */
export interface FoundRun {
  folder: string;
  /** Its path below the reported folder, with "/"; the folder's own name where it is the run itself. */
  name: string;
}

export interface FoundRuns {
  /** Name of the reported folder. */
  title: string;
  runs: FoundRun[];
  /** What a bench planned, where the folder is one. */
  bench: Bench | null;
}

/** Folders between the reported one and a run, at most. */
const deepest = 4;

/**
 * Finds what there is to report: the run itself, the cells of a bench, or the runs somewhere below a folder.
 * @throws {RkifError} RUN_INVALID where there is no run.
 */
export async function findRuns(path: string): Promise<FoundRuns> {
  const folder = resolve(path);
  const title = basename(folder);
  const isFolder = (await stat(folder).catch(() => undefined))?.isDirectory() ?? false;
  if (!isFolder) {
    throw new RkifError(
      "RUN_INVALID",
      `${folder} is no folder; expected that of a run, or one that holds runs`,
    );
  }
  if (isRun(folder)) return { title, runs: [{ folder, name: title }], bench: null };
  const bench = await readBench(folder);
  const runs = bench
    ? bench.cells
        .map(({ run }) => ({ folder: join(folder, run), name: run }))
        .filter((run) => isRun(run.folder))
    : await runsBelow(folder);
  if (runs.length === 0 && bench === null) {
    throw new RkifError(
      "RUN_INVALID",
      `${folder} holds no run (no config.json in it or in folders below) and no bench (no bench.json)`,
    );
  }
  return { title, runs, bench };
}

async function runsBelow(root: string): Promise<FoundRun[]> {
  const runs: FoundRun[] = [];
  const search = async (folder: string, name: string, depth: number): Promise<void> => {
    if (isRun(folder)) return void runs.push({ folder, name });
    if (depth === deepest) return;
    const entries = await readdir(folder, { withFileTypes: true });
    const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
    for (const below of names.sort()) {
      if (below === "node_modules" || below.startsWith(".")) continue;
      await search(join(folder, below), name === "" ? below : `${name}/${below}`, depth + 1);
    }
  };
  await search(root, "", 0);
  return runs;
}

// An adapter or a checkpoint has a config.json as well, but never beside a saved state.
function isRun(folder: string): boolean {
  return existsSync(join(folder, "config.json")) && existsSync(join(folder, "state.safetensors"));
}
