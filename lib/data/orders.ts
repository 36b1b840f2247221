import { RkifError } from "../errors.js";
import type { Benchmark } from "./benchmarks/benchmark.js";
import { suggestion } from "./suggest.js";

/** The published orders: 1-3 of the long-sequence benchmark, 4-6 of the standard one, and two of SuperNI. */
export const taskOrders: Readonly<Record<string, readonly string[]>> = {
  "1": words("mnli cb wic copa qqp boolqa rte imdb yelp amazon sst-2 dbpedia agnews multirc yahoo"),
  "2": words("multirc boolqa wic mnli cb copa qqp rte imdb sst-2 dbpedia agnews yelp amazon yahoo"),
  "3": words("yelp amazon mnli cb copa qqp rte imdb sst-2 dbpedia agnews yahoo multirc boolqa wic"),
  "4": words("dbpedia amazon yahoo agnews"),
  "5": words("dbpedia amazon agnews yahoo"),
  "6": words("yahoo amazon agnews dbpedia"),
  "superni-1": words(
    "task1572 task363 task1290 task181 task002 task1510 task639 task1729 task073 task1590 task748 task511 task591 task1687 task875",
  ),
  "superni-2": words(
    "task748 task073 task1590 task639 task1572 task1687 task591 task363 task1510 task1729 task181 task511 task002 task1290 task875",
  ),
};

/**
 * The tasks of an order: the name of a published one ("4"), a list with commas ("agnews, yahoo"; one task is a list too), or
 * an array of tasks.
 * @param known Where given, the tasks there are; others are refused.
 * @param source What messages begin with, such as a file's name.
 * @throws {RkifError} DATA_INVALID for a task that is unknown or occurs twice, or an order without tasks.
 */
export function resolveOrder(
  order: string | readonly string[],
  known?: readonly string[],
  source: string = "",
): string[] {
  const tasks = (typeof order === "string" ? fromText(order) : [...order]).map((task) => task.trim());
  if (tasks.length === 0 || tasks.includes("")) {
    throw new RkifError(
      "DATA_INVALID",
      `${source}the order ${JSON.stringify(order)} ${tasks.length === 0 ? "has no tasks" : "has an empty name in it"}; expected task names with commas between them, or one of the orders ${names}`,
    );
  }
  const twice = tasks.find((task, i) => tasks.indexOf(task) !== i);
  if (twice !== undefined) {
    throw new RkifError(
      "DATA_INVALID",
      `${source}task "${twice}" occurs twice in the order ${tasks.join(", ")}`,
    );
  }
  const missing = known && tasks.find((task) => !known.includes(task));
  if (missing !== undefined) {
    throw new RkifError(
      "DATA_INVALID",
      `${source}the order ${tasks.join(", ")} has the unknown task "${missing}".${suggestion(missing, known!)} Tasks there: ${known!.join(", ")}. Orders with a name: ${names}`,
    );
  }
  return tasks;
}

/**
 * As {@link resolveOrder}, where names are looked for among the benchmark's orders first: "1" is one order of SuperNI and another of the
 * long-sequence benchmark.
 */
export function resolveOrderIn(
  benchmark: Benchmark | null,
  order: string | readonly string[],
  known?: readonly string[],
): string[] {
  const named = typeof order === "string" ? benchmark?.orders.get(order.trim()) : undefined;
  return resolveOrder(named ?? order, known);
}

const names: string = Object.keys(taskOrders).join(", ");

function fromText(order: string): string[] {
  const name = order.trim();
  return Object.hasOwn(taskOrders, name) ? [...taskOrders[name]!] : name.split(",");
}

function words(text: string): readonly string[] {
  return text.split(" ");
}
