/** Classification tasks as texts, made or from a folder, in one file that both sides of a run read. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hash } from "../../../lib/data/random.js";
import type { TaskRecord } from "../../../lib/data/records.js";
import { listTasks, readTask, type TaskData } from "../../../lib/data/tasks.js";
import { resolveOrder, taskOrders } from "../../../lib/data/orders.js";
import { inputTokens, type Bounds } from "./batches.js";

/** The order of the paper that a run is made of. */
const order = "4";
/** Its tasks' labels; made tasks have as many. */
const classesOf: Readonly<Record<string, number>> = { dbpedia: 14, amazon: 5, yahoo: 10, agnews: 4 };

export interface TasksWanted {
  /** A folder of records with train/ and test/; null: they are made. */
  data: string | null;
  /** The first so many tasks of the order. */
  count: number;
  trainRecords: number;
  testRecords: number;
}

export const mostTasks: number = taskOrders[order]!.length;

/** The tasks of order 4. @throws {RkifError} DATA_INVALID where the folder lacks one. */
export async function tasksOfOrder(
  checkpoint: string,
  { data, count, trainRecords, testRecords }: TasksWanted,
): Promise<TaskData[]> {
  if (data !== null) {
    const names = resolveOrder(order, [...(await listTasks(data)).keys()]).slice(0, count);
    const limits = { trainLimit: trainRecords, testLimit: testRecords };
    return Promise.all(names.map((name) => readTask(data, name, limits)));
  }
  const words = await wordsOf(checkpoint);
  return taskOrders[order]!.slice(0, count).map((name, number) =>
    madeTask(name, {
      ...{ number, words, classes: classesOf[name]!, train: trainRecords, test: testRecords },
      tokens: inputTokens,
    }),
  );
}

export interface MadeTask {
  /** Tasks of different numbers have different records. */
  number: number;
  /** Texts are made of these. */
  words: readonly string[];
  classes: number;
  /** Records. */
  train: number;
  test: number;
  /** Least and most tokens of an input, the end token included. */
  tokens: Bounds;
}

/** Uses of one seed that shall not be the same numbers. */
const Use = { length: 11, word: 12, label: 13 } as const;

/** Random words with a label of one to three words: nothing is to be learned from them, but they take the time of a real task. */
export function madeTask(name: string, { number, words, classes, train, test, tokens }: MadeTask): TaskData {
  const text = (count: number, use: number, key: number): string =>
    Array.from({ length: count }, (_, i) => words[hash(use, number, key, i) % words.length]).join(" ");
  // The first word tells the labels apart.
  const labels = Array.from({ length: classes }, (_, label) =>
    `${words[(number + label) % words.length]} ${text(label % 3, Use.label, label)}`.trim(),
  );
  const record = (key: number): TaskRecord => {
    const [least, most] = tokens;
    const length = least + (hash(Use.length, number, key) % (most - least + 1));
    return { input: text(length - 1, Use.word, key), output: labels[key % classes]! };
  };
  const records = Array.from({ length: train + test }, (_, key) => record(key));
  return { name, train: records.slice(0, train), dev: [], test: records.slice(train), labels: labels.sort() };
}

/** Words that are one token each, for a text as long as wanted. @throws an error where the tokenizer has none. */
export async function wordsOf(checkpoint: string): Promise<string[]> {
  const file = join(checkpoint, "tokenizer.json");
  const { model } = JSON.parse(await readFile(file, "utf8")) as { model: { vocab: Record<string, number> } };
  const words = Object.keys(model.vocab).flatMap((token) => /^Ġ([a-z]{3,})$/.exec(token)?.[1] ?? []);
  if (words.length >= 100) return words;
  throw new Error(`${file} has ${words.length} tokens that are words; expected at least 100`);
}

/** What both sides read. */
export async function writeTasks(file: string, tasks: readonly TaskData[]): Promise<void> {
  await writeFile(file, JSON.stringify(tasks));
}

export async function readTasks(file: string): Promise<TaskData[]> {
  return JSON.parse(await readFile(file, "utf8")) as TaskData[];
}
