import { existsSync } from "node:fs";
import { join } from "node:path";
import { RkifError } from "../../errors.js";
import { suggestion } from "../suggest.js";
import { listTasks } from "../tasks.js";
import type { Benchmark } from "./benchmark.js";
import { builtInBenchmarks } from "./built-in.js";
import { manifestName, readManifest } from "./manifest.js";

/**
 * The benchmark a data folder holds: the one of this name, described by the folder's benchmark.json or built in. Without a name: what
 * benchmark.json describes, or the built-in one that all of the folder's tasks are of; null where it is neither.
 * @throws {RkifError} DATA_INVALID for an unknown name or a benchmark.json that is not as expected.
 */
export async function findBenchmark(folder: string, name: string | null = null): Promise<Benchmark | null> {
  const file = join(folder, manifestName);
  const described = existsSync(file) ? await readManifest(file) : null;
  if (name === null) return described ?? (await recognised(folder));
  if (described?.name === name) return described;
  const builtIn = builtInBenchmarks.get(name);
  if (builtIn) return builtIn;
  const names = [...builtInBenchmarks.keys(), ...(described ? [described.name] : [])];
  throw new RkifError(
    "DATA_INVALID",
    `benchmark is ${JSON.stringify(name)}; expected one of ${names.join(", ")}, or a name that ${file} gives.${suggestion(name, names)}`,
  );
}

/** The smallest built-in benchmark that has all of the folder's tasks. */
async function recognised(folder: string): Promise<Benchmark | null> {
  if (!existsSync(folder)) return null;
  const tasks = [...(await listTasks(folder)).keys()];
  const holding = [...builtInBenchmarks.values()].filter((built) =>
    tasks.every((task) => built.tasks.has(task)),
  );
  return holding.sort((a, b) => a.tasks.size - b.tasks.size)[0] ?? null;
}
