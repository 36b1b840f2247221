import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { checkFields, readJsonFile } from "../../models/json-file.js";

const names = z.array(z.string());

const plan = z.object({
  name: z.string(),
  orders: z.array(z.object({ name: z.string(), tasks: names })),
  variants: z.array(z.object({ name: z.string(), method: z.string() })),
  cells: z.array(z.object({ variant: z.string(), order: z.string(), seed: z.number(), run: z.string() })),
});

const results = z.object({
  cells: z.array(
    z.object({
      run: z.string(),
      state: z.string(),
      failure: z.object({ code: z.string().optional(), message: z.string() }).optional(),
    }),
  ),
});

const cell = z.object({
  timing: z.object({ trainSeconds: z.number(), evaluateSeconds: z.number() }).partial().optional(),
});

/** What a bench planned, and how far its cells are. */
export type Bench = z.output<typeof plan> & {
  /** By run. A cell that nothing is said of waits. */
  states: ReadonlyMap<string, { state: string; failure?: { message: string } | undefined }>;
};

/** Reads the plan and the results of a bench folder; null where the folder is none. @throws {RkifError} RUN_INVALID. */
export async function readBench(folder: string): Promise<Bench | null> {
  const [planFile, resultsFile] = [join(folder, "bench.json"), join(folder, "results.json")];
  if (!existsSync(planFile)) return null;
  const planned = checkFields(plan, await readJsonFile(planFile, "RUN_INVALID"), planFile, "RUN_INVALID");
  const found = existsSync(resultsFile)
    ? checkFields(results, await readJsonFile(resultsFile, "RUN_INVALID"), resultsFile, "RUN_INVALID")
    : { cells: [] };
  return { ...planned, states: new Map(found.cells.map((entry) => [entry.run, entry])) };
}

/** Seconds that a finished cell took to train; null where they are not known. */
export async function readTrainSeconds(run: string): Promise<number | null> {
  const file = join(run, "cell.json");
  if (!existsSync(file)) return null;
  const { timing } = checkFields(cell, await readJsonFile(file, "RUN_INVALID"), file, "RUN_INVALID");
  return timing?.trainSeconds ?? null;
}
