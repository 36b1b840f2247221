import { mean } from "../../evaluation/metrics.js";
import type { RunData } from "../data/read-run.js";
import type { Comparison, ComparisonLine } from "./figures.js";
import { furthest, measureRuns } from "./variant-figures.js";
import type { VariantRuns } from "./variants.js";

/** Compares variants, apart for every set of tasks: means over orders of other tasks would say nothing. */
export function compareVariants(groups: readonly VariantRuns[]): Comparison[] {
  const bySet = new Map<string, VariantRuns[]>();
  for (const group of groups) {
    const key = [...group.order.tasks].sort().join("\n");
    bySet.set(key, [...(bySet.get(key) ?? []), group]);
  }
  return [...bySet.values()].map((same) => ({
    orders: [...new Set(same.map(({ order }) => order.name))],
    tasks: same[0]!.order.tasks.length,
    lines: [...new Set(same.map(({ variant }) => variant))].map(
      (variant) =>
      lineOf(variant, same.filter((group) => group.variant === variant)), // prettier-ignore
    ),
  }));
}

function lineOf(variant: string, groups: readonly VariantRuns[]): ComparisonLine {
  const runs = furthest(groups.flatMap((group) => group.runs));
  const meanOf = (value: (run: RunData) => number | null): number | null => mean(runs.map(value));
  return {
    variant,
    ...measureRuns(runs),
    orders: groups.map((group) => ({ order: group.order.name, ...measureRuns(furthest(group.runs)) })),
    steps: meanOf(({ training }) => training.steps),
    skipped: meanOf(({ training }) => training.skipped),
    tokens: meanOf(({ training }) => training.tokens),
    seconds: meanOf(({ seconds }) => seconds),
  };
}
