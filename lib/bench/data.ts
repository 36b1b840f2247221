import { basename, resolve } from "node:path";
import { findBenchmark } from "../data/benchmarks/find.js";
import { resolveOrderIn } from "../data/orders.js";
import { listTasks, readTask, type TaskData } from "../data/tasks.js";
import { demoTasks } from "../demo/tasks.js";
import type { DataOptions } from "../training/options.js";

/** The data of a bench, read. */
export interface BenchData {
  readonly name: string;
  readonly benchmark: string | null;
  readonly folder: string;
  readonly orders: readonly { readonly name: string; readonly tasks: string[] }[];
  readonly tasks: ReadonlyMap<string, TaskData>;
}

/** In place of a folder: the four tasks that the embedded model has learned to read. */
const embedded = "embedded";

/**
 * Reads the tasks of all orders.
 * @param orders Names or lists of tasks; null: all orders of the benchmark, or one of all tasks by name.
 * @throws {RkifError} DATA_INVALID, saying where people get a benchmark's data if they are missing.
 */
export async function openData(
  options: DataOptions,
  orders: readonly (string | readonly string[])[] | null,
): Promise<BenchData> {
  const { trainLimit, devLimit, testLimit } = options;
  if (options.data === embedded) {
    const all = new Map(demoTasks().map((task) => [task.name, task]));
    const known = [...all.keys()];
    const lists = (orders ?? [known]).map((order) => ({
      name: nameOf(order),
      tasks: resolveOrderIn(null, order, known),
    }));
    const limited = ({ train, dev, test, ...task }: TaskData): TaskData => ({
      ...task,
      train: train.slice(0, trainLimit ?? undefined),
      dev: dev.slice(0, devLimit ?? undefined),
      test: test.slice(0, testLimit ?? undefined),
    });
    const tasks = new Map([...all].map(([name, task]) => [name, limited(task)]));
    return { name: embedded, benchmark: null, folder: embedded, orders: lists, tasks };
  }
  const folder = resolve(options.data);
  const benchmark = await findBenchmark(folder, options.benchmark);
  const asked: readonly (string | readonly string[])[] =
    orders ??
    (benchmark && benchmark.orders.size > 0
      ? [...benchmark.orders.keys()]
      : [[...(await listTasks(folder, benchmark)).keys()]]);
  const lists = asked.map((order) => ({ name: nameOf(order), tasks: resolveOrderIn(benchmark, order) }));
  const limits = Object.fromEntries(
    Object.entries({ trainLimit, devLimit, testLimit }).filter(([, limit]) => limit !== null),
  );
  const tasks = new Map<string, TaskData>();
  for (const name of new Set(lists.flatMap((order) => order.tasks))) {
    tasks.set(name, await readTask(folder, name, { ...limits, benchmark }));
  }
  const name = benchmark?.name ?? basename(folder);
  return { name, benchmark: benchmark?.name ?? null, folder, orders: lists, tasks };
}

function nameOf(order: string | readonly string[]): string {
  return typeof order === "string" ? order.trim() : order.join(",");
}
