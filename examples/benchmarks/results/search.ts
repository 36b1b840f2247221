import type { BenchResults } from "../../../lib/index.js";
import { runHere } from "../shared/run-here.js";
import { allMethods, gridOf, orderOf, pointsOf, sharedOptions, variantOf, type Sizes } from "./plan.js";

/** A point of a method's grid with its result on dev. */
export interface SearchedPoint {
  readonly options: Record<string, unknown>;
  /** null where the run failed. */
  readonly OP: number | null;
}

export interface SearchedMethod {
  readonly name: string;
  readonly points: readonly SearchedPoint[];
  /** The first of the best. */
  readonly best: SearchedPoint;
}

/** Tries every point of every method's grid on the dev records of one order, with a seed that is not used later. */
export async function search(
  sizes: Sizes,
  given: Readonly<Record<string, unknown>>,
  { out, jobs }: { out: string; jobs: number },
): Promise<{ methods: SearchedMethod[]; results: BenchResults }> {
  const names = allMethods(sizes);
  const entries = names.flatMap((name) =>
    pointsOf(gridOf(name, sizes)).map((options) => ({ name, options, label: labelOf(name, options) })),
  );
  const results = await runHere(
    {
      name: "search",
      variants: entries.map(({ name, options, label }) => ({ ...variantOf(name, options), name: label })),
      orders: [orderOf(sizes.orders.all)],
      seeds: [sizes.searchSeed],
      evaluateOn: "dev",
      options: sharedOptions(sizes, given, sizes.searchLimit),
    },
    { out, jobs },
    "search",
  );
  const OPs = new Map(results.variants.map(({ variant, OP }) => [variant, OP.mean]));
  const methods = names.map((name) => {
    const points = entries
      .filter((entry) => entry.name === name)
      .map(({ options, label }) => ({ options, OP: OPs.get(label) ?? null }));
    const best = points.reduce((a, b) => ((b.OP ?? -1) > (a.OP ?? -1) ? b : a));
    return { name, points, best };
  });
  return { methods, results };
}

function labelOf(name: string, options: Record<string, unknown>): string {
  return `${name} ${optionsText(options)}`;
}

/** `learningRate 0.001, ewcStrength 100`. */
export function optionsText(options: Record<string, unknown>): string {
  return Object.entries(options)
    .map(([option, value]) => `${option} ${JSON.stringify(value)}`)
    .join(", ");
}
