import { expect } from "chai";
import { tasl } from "../../lib/methods/tasl.js";
import { methodOptions, resolveConfig } from "../../lib/training/config.js";
import { beginning, Descent, farthest, gradientAt, learnToys, LENGTH, rateAt, taskKeys } from "./toy-run.js";

const steps = 20;
const decay = 0.85;

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
/** Elements of each tensor of the toy's two adapters, written out. */
const byTensor = [range(0, 8), range(8, 14), range(14, 20), range(20, 24)];
/** A row of A and the same column of B. */
const byRank = [
  [0, 1, 2, 3, 8, 10, 12],
  [4, 5, 6, 7, 9, 11, 13],
  [14, 15, 16, 20, 22],
  [17, 18, 19, 21, 23],
];

const normalised = (values: number[]): number[] =>
  values.map((value) => (value - Math.min(...values)) / (Math.max(...values) - Math.min(...values)));

/** Of four values the 80th percentile lies four tenths of the way from the second largest to the largest. */
function percentile80(values: number[]): number {
  const [largest, second] = [...values].sort((a, b) => b - a);
  return second! + 0.4 * (largest! - second!);
}

interface Form {
  units: number[][];
  importance: (theta: number, g: number) => number;
  /** Weight of the new value. */
  weight: (fresh: number[], old: number[], unit: number) => number;
}

const tensorForm: Form = {
  units: byTensor,
  importance: (theta, g) => Math.abs(theta * g),
  weight(fresh, old, unit) {
    const isNew = fresh[unit]! > percentile80(fresh);
    const isOld = old[unit]! > percentile80(old);
    if (isNew && isOld) return 0.3;
    if (isNew) return 1;
    return isOld ? 0 : 0.5;
  },
};
const rankForm: Form = {
  units: byRank,
  importance: (theta, g) => Math.abs(theta * g - (theta * g) ** 2 / 2),
  weight(fresh, old, unit) {
    const [a, b] = [Math.exp(fresh[unit]! / 0.25), Math.exp(old[unit]! / 0.25)];
    return a / (a + b);
  },
};

function slowly({ units, importance, weight }: Form): { results: number[][]; weights: number[][] } {
  let theta = beginning();
  let old: number[] = [];
  const weights: number[][] = [];
  const results = [0, 1, 2].map((task) => {
    const before = theta;
    const descent = new Descent();
    const mean = new Array<number>(LENGTH).fill(0);
    const uncertainty = new Array<number>(LENGTH).fill(0);
    for (let step = 0; step < steps; step++) {
      const gradient = gradientAt(theta, taskKeys(task, step));
      for (let i = 0; i < LENGTH; i++) {
        const now = importance(theta[i]!, gradient[i]!);
        mean[i] = decay * mean[i]! + (1 - decay) * now;
        uncertainty[i] = decay * uncertainty[i]! + (1 - decay) * Math.abs(now - mean[i]!);
      }
      theta = descent.step(theta, gradient, rateAt(step, steps));
    }
    const fresh = normalised(
      units.map((unit) => unit.reduce((sum, i) => sum + mean[i]! * uncertainty[i]!, 0) / unit.length),
    );
    if (task === 0) {
      old = fresh;
      return theta;
    }
    const merged = [...theta];
    weights.push(units.map((_, u) => weight(fresh, old, u)));
    units.forEach((unit, u) => {
      for (const i of unit)
        merged[i] = weight(fresh, old, u) * theta[i]! + (1 - weight(fresh, old, u)) * before[i]!;
    });
    old = normalised(fresh.map((value, u) => 0.3 * value + 0.7 * old[u]!));
    theta = merged;
    return theta;
  });
  return { results, weights };
}

describe("tasl", () => {
  for (const [name, preset, form] of [
    ["by tensor and thresholds", null, tensorForm],
    ["by rank and softmax", "lora", rankForm],
  ] as const) {
    it(`merges what tasks learned ${name}`, async () => {
      const options = methodOptions(resolveConfig({ method: "tasl", preset }));
      const found = await learnToys(tasl, options, { steps });
      const { results, weights } = slowly(form);
      expect(farthest(found, results)).to.be.below(1e-5);
      // The toy takes more than one way through the rules.
      expect(new Set(weights.flat()).size).to.be.above(1);
    });
  }
});
