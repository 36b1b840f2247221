import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { EncodedRecord, RecordFormat } from "../data/formats/record-format.js";
import type { Metric } from "../data/metric.js";
import { readRecords, type TaskRecord } from "../data/records.js";
import type { TaskData } from "../data/tasks.js";
import { readJson, writeJson, writeRecords, type RunFolder } from "./run-folder.js";

/** What later tasks need of a task: its labels, its memory and dev records, and the prompts of its test records. */
export interface LearnedTask {
  readonly name: string;
  readonly labels: readonly string[];
  readonly memory: readonly EncodedRecord[];
  readonly dev: readonly EncodedRecord[];
  readonly test: readonly Int32Array[];
  /** The test records' outputs. */
  readonly references: readonly string[];
  /** What its benchmark measures it by. */
  readonly metric?: Metric;
}

/** Puts what a task leaves behind into the run folder, so that its original data are not needed any more. */
export async function writeTask(
  folder: RunFolder,
  index: number,
  task: TaskData,
  devRecords: number,
): Promise<void> {
  const path = folder.task(index, task.name);
  await mkdir(path, { recursive: true });
  await writeRecords(join(path, "test.jsonl"), task.test);
  await writeRecords(join(path, "dev.jsonl"), task.dev.slice(0, devRecords));
  await writeJson(join(path, "task.json"), {
    name: task.name,
    labels: task.labels,
    ...(task.metric && { metric: task.metric }),
  });
}

/** Adds the memory, chosen when the task has been learned. */
export async function writeMemory(
  folder: RunFolder,
  index: number,
  name: string,
  memory: readonly TaskRecord[],
): Promise<void> {
  await writeRecords(join(folder.task(index, name), "memory.jsonl"), memory);
}

/** Reads a task back, tokenized; tasks are read in the order in which they were learned. One still being learned has no memory yet. */
export async function readLearnedTask(
  folder: RunFolder,
  index: number,
  name: string,
  format: RecordFormat,
  { hasMemory, usesDev }: { hasMemory: boolean; usesDev: boolean },
): Promise<LearnedTask> {
  const path = folder.task(index, name);
  const { labels, metric } = await readJson<{ labels: string[]; metric?: Metric }>(join(path, "task.json"));
  await format.addLabels(labels);
  const encode = async (records: readonly TaskRecord[]): Promise<EncodedRecord[]> =>
    records.length === 0 ? [] : (await format.encode(records)).records;
  const test = await readSome(join(path, "test.jsonl"));
  return {
    name,
    labels,
    memory: hasMemory ? await encode(await readSome(join(path, "memory.jsonl"))) : [],
    dev: usesDev ? await encode(await readSome(join(path, "dev.jsonl"))) : [],
    test: (await format.encodePrompts(test)).prompts,
    references: test.map(({ output }) => output),
    ...(metric && { metric }),
  };
}

// An empty set is an empty file here; data/ refuses such files, as users do not mean them.
async function readSome(file: string): Promise<TaskRecord[]> {
  const size = (await stat(file).catch(() => undefined))?.size;
  return size === 0 ? [] : readRecords(file);
}
