import { parseVariant, type Variant } from "../../../lib/bench/spec.js";
import { methods } from "../../../lib/index.js";

/** What the results page costs: all of it is stated there. */
export interface Sizes {
  trainLimit: number;
  /** Dev and test records of a task. */
  devLimit: number;
  testLimit: number;
  /** Training records of a task in the search. */
  searchLimit: number;
  epochs: number;
  /** Records of earlier tasks that a method with a memory keeps of each. */
  memoryRecords: number;
  /** Values of each grid that are tried. */
  gridPoints: number;
  /** `main`: none, where all methods have all seeds. */
  orders: { all: string; main: string[]; long: string | null };
  seeds: number[];
  searchSeed: number;
  /** Every method on every order and seed, and not the main ones alone. */
  everything: boolean;
}

/** What fits into 100 minutes on 2 cores with MiniLM. */
export const scaled: Sizes = {
  ...{ trainLimit: 400, devLimit: 60, testLimit: 200, searchLimit: 200, epochs: 1, memoryRecords: 20, gridPoints: 4 },
  orders: { all: "4", main: ["4", "5", "6"], long: "1" },
  ...{ seeds: [1, 2, 3], searchSeed: 100, everything: false },
}; // prettier-ignore

/** Whether everything runs, in about a minute; its figures mean nothing. */
export const smoke: Sizes = {
  ...{ trainLimit: 72, devLimit: 8, testLimit: 8, searchLimit: 16, epochs: 1, memoryRecords: 6, gridPoints: 2 },
  orders: { all: "agnews,yahoo", main: ["agnews,yahoo"], long: null },
  ...{ seeds: [1, 2], searchSeed: 100, everything: false },
}; // prettier-ignore

/** Methods with three seeds on three orders. */
export const mainMethods = [
  "sequential",
  "replay",
  "recurrent-kif",
  "recurrent-kif:published-code",
  "multi-task",
];
/** Of them, those on an order of 15 tasks. */
export const longMethods = ["sequential", "replay", "recurrent-kif"];

/** Every method, in the order of the page. */
export function allMethods({ gridPoints }: Sizes): string[] {
  const others = [...methods.keys()].filter((name) => !mainMethods.includes(name));
  return gridPoints < 4 ? mainMethods : [...mainMethods, ...others];
}

const rates = [3e-4, 1e-3, 3e-3, 1e-2];
const twoRates = [1e-3, 3e-3];

/**
 * What is searched for a method: four points each. Where a method has a strength of its own, two of its values at two learning rates;
 * otherwise four learning rates.
 */
const grids: Readonly<Record<string, Readonly<Record<string, readonly unknown[]>>>> = {
  ewc: { learningRate: twoRates, ewcStrength: [1e2, 1e4] },
  ella: { learningRate: twoRates, overlapWeight: [1e3, 1e5] },
  "o-lora": { learningRate: twoRates, orthogonalWeights: [[0.5], [5]] },
  migu: { learningRate: twoRates, maskQuantile: [0.4, 0.7] },
  tasl: { learningRate: twoRates, newSkillWeight: [0.3, 0.5] },
  forever: { learningRate: twoRates, daySteps: [6, 12] },
  "aim-merging": { learningRate: twoRates, outerLearningRate: twoRates },
  "recurrent-kif": { learningRate: twoRates, outerLearningRate: twoRates },
};

/** The grid of a method or METHOD:PRESET. The outer loop of the published code has no rate of its own. */
export function gridOf(name: string, { gridPoints }: Sizes): Readonly<Record<string, readonly unknown[]>> {
  const grid = grids[name] ?? { learningRate: rates };
  return gridPoints < 4 ? { learningRate: twoRates } : grid;
}

/** The points of a grid. */
export function pointsOf(grid: Readonly<Record<string, readonly unknown[]>>): Record<string, unknown>[] {
  return Object.entries(grid).reduce<Record<string, unknown>[]>(
    (points, [option, values]) =>
      points.flatMap((point) => values.map((value) => ({ ...point, [option]: value }))),
    [{}],
  );
}

/**
 * What all methods share, in search and comparison.
 * @param given the study's options, and those of the command line
 */
export function sharedOptions(
  { epochs, memoryRecords, devLimit, testLimit }: Sizes,
  given: Readonly<Record<string, unknown>>,
  trainLimit: number,
): Record<string, unknown> {
  const memoryFraction = memoryRecords / trainLimit;
  return { epochs, memoryFraction, trainLimit, devLimit, testLimit, ...given };
}

/** A method with the options that were found for it. */
export function variantOf(name: string, options: Record<string, unknown>): Variant {
  return { ...parseVariant(name), options };
}

/** An order as a bench takes it. */
export function orderOf(text: string): string | string[] {
  return text.includes(",") ? text.split(",") : text;
}
