import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { EncodedRecord, RecordFormat } from "../data/formats/record-format.js";
import type { Metric } from "../data/metric.js";
import { readRecords, type TaskRecord } from "../data/records.js";
import type { TaskData } from "../data/tasks.js";
import { readJson, writeJson, writeRecords, type RunFolder } from "./run-folder.js";

/** What the run keeps of a task from when it is taken up: its labels, its dev records, and the prompts of its test records. */
export interface KeptTask {
  readonly name: string;
  readonly labels: readonly string[];
  readonly dev: readonly EncodedRecord[];
  readonly test: readonly Int32Array[];
  /** The test records' outputs. */
  readonly references: readonly string[];
  /** What its benchmark measures it by. */
  readonly metric?: Metric;
}

/** A task with the memory that was chosen when it had been learned. */
export interface LearnedTask extends KeptTask {
  readonly memory: readonly EncodedRecord[];
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

/** Reads a task back, tokenized; tasks are read in the order in which they were learned. */
export async function readKeptTask(
  folder: RunFolder,
  index: number,
  name: string,
  format: RecordFormat,
  { usesDev }: { usesDev: boolean },
): Promise<KeptTask> {
  const path = folder.task(index, name);
  const { labels, metric } = await readJson<{ labels: string[]; metric?: Metric }>(join(path, "task.json"));
  await format.addLabels(labels);
  const test = await readSome(join(path, "test.jsonl"));
  return {
    name,
    labels,
    dev: usesDev ? await readEncoded(join(path, "dev.jsonl"), format) : [],
    test: (await format.encodePrompts(test)).prompts,
    references: test.map(({ output }) => output),
    ...(metric && { metric }),
  };
}

/** Reads a learned task's memory, which is all that is new of it since it was taken up. */
export async function withMemory(
  folder: RunFolder,
  index: number,
  task: KeptTask,
  format: RecordFormat,
): Promise<LearnedTask> {
  const file = join(folder.task(index, task.name), "memory.jsonl");
  return { ...task, memory: await readEncoded(file, format) };
}

async function readEncoded(file: string, format: RecordFormat): Promise<EncodedRecord[]> {
  const records = await readSome(file);
  return records.length === 0 ? [] : (await format.encode(records)).records;
}

// An empty set is an empty file here; data/ refuses such files, as users do not mean them.
async function readSome(file: string): Promise<TaskRecord[]> {
  const size = (await stat(file).catch(() => undefined))?.size;
  return size === 0 ? [] : readRecords(file);
}
