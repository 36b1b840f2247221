import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { RkifError } from "../errors.js";
import { sourceHint, type Benchmark } from "./benchmarks/benchmark.js";
import type { Metric } from "./metric.js";
import { readRecords, type TaskRecord } from "./records.js";
import { suggestion } from "./suggest.js";

export type SetName = "train" | "dev" | "test";

const setNames: readonly SetName[] = ["train", "dev", "test"];

export interface TaskData {
  readonly name: string;
  readonly train: TaskRecord[];
  /** Empty where the folder has no dev file for the task. */
  readonly dev: TaskRecord[];
  readonly test: TaskRecord[];
  /**
   * Distinct outputs, sorted by code unit: of the whole training file, before any limit, so that limits do not change what can
   * be answered. Where there is no training file, of the test file.
   */
  readonly labels: string[];
  /** What its benchmark measures it by; absent where it belongs to none. */
  readonly metric?: Metric;
}

export interface ReadTaskOptions {
  /** The first n records of the file, in its order; all by default. */
  trainLimit?: number;
  devLimit?: number;
  testLimit?: number;
  /** The training file may be missing: for tasks that were learned before and are only tested now. */
  trainMayBeMissing?: boolean;
  /** Says what the task is measured by, and where people get the data if something is missing. */
  benchmark?: Benchmark | null;
}

/** Which sets each task of a folder has, by task name in alphabetical order. */
export type TaskFiles = ReadonlyMap<string, Readonly<Partial<Record<SetName, string>>>>;

/**
 * The tasks of a folder: the names of the .json and .jsonl files in its train/, dev/ and test/.
 * @param benchmark Says where people get the data if nothing is there.
 * @throws {RkifError} DATA_INVALID where the folder has none, or a task two files in one set.
 */
export async function listTasks(folder: string, benchmark?: Benchmark | null): Promise<TaskFiles> {
  const tasks = new Map<string, Partial<Record<SetName, string>>>();
  for (const set of setNames) {
    for (const entry of await listFolder(join(folder, set))) {
      const name = /^(.+)\.jsonl?$/.exec(entry)?.[1];
      if (name === undefined || name.startsWith(".")) continue;
      const files = tasks.get(name) ?? {};
      const other = files[set];
      if (other !== undefined) {
        throw new RkifError(
          "DATA_INVALID",
          `${other} and ${join(folder, set, entry)} are both the ${set} set of task "${name}"; expected one: remove the other`,
        );
      }
      files[set] = join(folder, set, entry);
      tasks.set(name, files);
    }
  }
  if (tasks.size === 0) {
    const isThere = (await stat(folder).catch(() => undefined)) !== undefined;
    throw new RkifError(
      "DATA_INVALID",
      `${folder}: ${isThere ? "no task found" : "there is no such folder"}; expected folders train/, dev/ and test/ with a file TASK.json or TASK.jsonl for every task${sourceHint(benchmark)}`,
    );
  }
  return new Map([...tasks].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * Reads the sets of one task.
 * @throws {RkifError} DATA_INVALID for an unknown task, a missing train or test file, or a record that is not as expected.
 */
export async function readTask(
  folder: string,
  name: string,
  options: ReadTaskOptions = {},
): Promise<TaskData> {
  const { trainLimit, devLimit, testLimit, trainMayBeMissing = false, benchmark } = options;
  for (const [option, limit] of Object.entries({ trainLimit, devLimit, testLimit })) {
    if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 1)) {
      throw new RkifError("INVALID_ARGUMENT", `${option} is ${limit}; expected a whole number of at least 1`);
    }
  }
  const tasks = await listTasks(folder, benchmark);
  const files = tasks.get(name);
  const definition = benchmark?.tasks.get(name);
  const hint = definition ? sourceHint(benchmark) : "";
  if (files === undefined) throw unknownTask(folder, name, [...tasks.keys()], hint);
  if (files.test === undefined) throw missingSet(folder, name, "test", hint);
  if (files.train === undefined && !trainMayBeMissing) throw missingSet(folder, name, "train", hint);

  const train = files.train === undefined ? [] : await readRecords(files.train);
  const dev = files.dev === undefined ? [] : await readRecords(files.dev);
  const test = await readRecords(files.test);
  const labelled = files.train === undefined ? test : train;
  return {
    name,
    train: train.slice(0, trainLimit),
    dev: dev.slice(0, devLimit),
    test: test.slice(0, testLimit),
    labels: [...new Set(labelled.map((record) => record.output))].sort(),
    ...(definition && { metric: definition.metric }),
  };
}

async function listFolder(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (cause) {
    if ((cause as { code?: unknown }).code === "ENOENT") return [];
    throw new RkifError("DATA_INVALID", `${folder}: cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function unknownTask(folder: string, name: string, known: string[], hint: string): RkifError {
  return new RkifError(
    "DATA_INVALID",
    `${folder}: no task "${name}".${suggestion(name, known)} Tasks there: ${known.join(", ")}${hint}`,
  );
}

function missingSet(folder: string, name: string, set: SetName, hint: string): RkifError {
  return new RkifError(
    "DATA_INVALID",
    `${join(folder, set, name)}.json: task "${name}" has no ${set} file; expected one in ${set}/ (.json or .jsonl)${hint}`,
  );
}
