import type { Metric } from "../metric.js";

/** A data set with a name: its tasks, how each is measured, and the orders in which they are learned. */
export interface Benchmark {
  readonly name: string;
  readonly tasks: ReadonlyMap<string, { readonly metric: Metric }>;
  /** Task lists by name, such as "4". */
  readonly orders: ReadonlyMap<string, readonly string[]>;
  /** Where people get the data, in words; null where nobody said. */
  readonly source: string | null;
}

/** What to add to a message where a benchmark's data are missing; empty where nobody said where they are. */
export function sourceHint(benchmark: Benchmark | null | undefined): string {
  return typeof benchmark?.source !== "string" ? "" : `. The data of ${benchmark.name}: ${benchmark.source}`;
}
