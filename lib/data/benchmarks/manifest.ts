import { z } from "zod";
import { checkFields, readJsonFile } from "../../models/json-file.js";
import { metricNames } from "../metric.js";
import { resolveOrder } from "../orders.js";
import type { Benchmark } from "./benchmark.js";

/** Name of the file that describes a data folder as a benchmark. */
export const manifestName = "benchmark.json";

const object = { error: "an object" };
/** A name or title in a file that people write. */
export const text = z.string({ error: "a string" }).min(1, { error: "a string that is not empty" });

const schema = z.strictObject(
  {
    name: text,
    tasks: z.record(
      z.string(),
      z.strictObject(
        { metric: z.enum(metricNames, { error: metricNames.map((name) => `"${name}"`).join(" or ") }) },
        { error: 'an object such as {"metric": "exact-match"} with no other field' },
      ),
      object,
    ),
    orders: z.record(z.string(), z.array(text, { error: "a list of tasks" }), object).default({}),
    source: text.nullable().default(null),
  },
  { error: "an object with the fields name, tasks, orders and source, and no others" },
);

/**
 * Reads the description of a data folder:
 *
 *     {
 *       "name": "support-mail",
 *       "tasks": { "topic": { "metric": "exact-match" }, "summary": { "metric": "rouge-l" } },
 *       "orders": { "a": ["topic", "summary"], "b": ["summary", "topic"] },
 *       "source": "where people get the data, in words or as a link"
 *     }
 *
 * `orders` and `source` may be left out.
 * @throws {RkifError} DATA_INVALID naming the field, or the order with a task that is not among `tasks`.
 */
export async function readManifest(file: string): Promise<Benchmark> {
  const { name, tasks, orders, source } = checkFields(
    schema,
    await readJsonFile(file, "DATA_INVALID"),
    file,
    "DATA_INVALID",
  );
  const known = Object.keys(tasks);
  return {
    name,
    tasks: new Map(Object.entries(tasks)),
    orders: new Map(
      Object.entries(orders).map(([order, list]) => [
        order,
        resolveOrder(list, known, `${file}: order "${order}": `),
      ]),
    ),
    source,
  };
}
