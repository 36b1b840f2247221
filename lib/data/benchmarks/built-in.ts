import type { Metric } from "../metric.js";
import { taskOrders } from "../orders.js";
import type { Benchmark } from "./benchmark.js";

const layout =
  "bring them into train/TASK.json, dev/TASK.json and test/TASK.json, JSON arrays of {id?, instruction?, input, output}";

const classificationData =
  "published with O-LoRA (https://github.com/cmnfriend/O-LoRA, folder CL_Benchmark) and with SAPT " +
  `(https://github.com/circle-hit/SAPT, folder CL_Benchmark/Long_Sequence); ${layout}`;

const generationData = `published with SAPT (https://github.com/circle-hit/SAPT, folder CL_Benchmark/SuperNI); ${layout}`;

/** SuperNI tasks whose outputs are labels. */
const labelled = new Set(["task363", "task875", "task1687"]);

function benchmark(
  name: string,
  orders: Readonly<Record<string, string>>,
  metric: (task: string) => Metric,
  source: string,
): Benchmark {
  const lists = new Map(Object.entries(orders).map(([order, published]) => [order, taskOrders[published]!]));
  const tasks = new Set([...lists.values()].flat());
  return {
    name,
    tasks: new Map([...tasks].map((task) => [task, { metric: metric(task) }])),
    orders: lists,
    source,
  };
}

/**
 * The published benchmarks. Their prompts are part of the records: the classification tasks have an `instruction` each, a SuperNI
 * record's `input` is the whole prompt.
 */
export const builtInBenchmarks: ReadonlyMap<string, Benchmark> = new Map(
  [
    benchmark("standard-cl", { 4: "4", 5: "5", 6: "6" }, () => "exact-match", classificationData),
    benchmark("long-sequence", { 1: "1", 2: "2", 3: "3" }, () => "exact-match", classificationData),
    benchmark(
      "superni",
      { 1: "superni-1", 2: "superni-2" },
      (task) => (labelled.has(task) ? "exact-match" : "rouge-l"),
      generationData,
    ),
  ].map((built) => [built.name, built]),
);
