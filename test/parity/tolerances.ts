/** The tolerances of the fixtures' format, and what "moved by ten times its tolerance" means for each. */
import type { Expected, Scalar } from "./expected.js";

type List = ArrayLike<Scalar>;

export interface Worst {
  index: number;
  /** How far off, in words. */
  by: string;
}

export interface Tolerance {
  readonly name: string;
  /** The worst element beyond the tolerance; null where all are within it. */
  worst(actual: List, wanted: List, expected: Expected, address: string): Worst | null;
  /** `wanted` with the value at about `index` moved by ten times the tolerance. */
  moved(wanted: List, index: number, expected: Expected, address: string): Scalar[];
}

/** Inputs, settings and remarks: nothing that an implementation computes. */
export const GIVEN: Tolerance = {
  name: "given",
  worst: () => null,
  moved: (wanted) => Array.from(wanted),
};

function changed(value: Scalar | undefined): Scalar {
  if (typeof value === "number") return Number.isFinite(value) ? value + 1 : 0;
  if (typeof value === "boolean") return !value;
  return value === null || value === undefined ? 0 : `${value}x`;
}

/** Ids, counts, words: equal. A list without elements is moved by getting one. */
export const EQUAL: Tolerance = {
  name: "equal",
  worst(actual, wanted) {
    for (let index = 0; index < wanted.length; index++) {
      if (actual[index] !== wanted[index] && !Object.is(actual[index], wanted[index])) {
        return { index, by: "differs" };
      }
    }
    return null;
  },
  moved(wanted, index) {
    const values: Scalar[] = Array.from(wanted);
    values[index] = changed(values[index]);
    return values;
  },
};

/** `margin(wanted)` is the largest allowed absolute difference. NaN and infinities must be the same. */
function numeric(name: string, margin: (wanted: ArrayLike<number>) => number): Tolerance {
  return {
    name,
    worst(actual, wanted) {
      const allowed = margin(wanted as ArrayLike<number>);
      let worst: Worst | null = null;
      let largest = allowed;
      for (let index = 0; index < wanted.length; index++) {
        const a = actual[index];
        const w = wanted[index];
        if (Object.is(a, w)) continue;
        if (typeof a !== "number" || typeof w !== "number" || !Number.isFinite(a) || !Number.isFinite(w)) {
          return { index, by: "differs" };
        }
        const difference = Math.abs(a - w);
        if (difference > largest) {
          largest = difference;
          worst = { index, by: `off by ${difference.toExponential(2)}, allowed ${allowed.toExponential(2)}` };
        }
      }
      return worst;
    },
    moved(wanted, index) {
      const values: Scalar[] = Array.from(wanted);
      const value = values[index];
      if (typeof value !== "number" || !Number.isFinite(value)) {
        values[index] = changed(value);
      } else {
        // Where everything is zero a relative tolerance allows nothing, so any move has to be noticed.
        const step = 10 * margin(wanted as ArrayLike<number>);
        values[index] = value + (index % 2 === 0 ? 1 : -1) * (step === 0 ? 1e-30 : step);
      }
      return values;
    },
  };
}

function largestMagnitude(values: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i] as number);
    if (Number.isFinite(magnitude) && magnitude > largest) largest = magnitude;
  }
  return largest;
}

/** Relative to the largest finite absolute value of the list. */
export function relative(by: number): Tolerance {
  return numeric(`within ${by} of the largest value`, (wanted) => by * largestMagnitude(wanted));
}

export function absolute(by: number): Tolerance {
  return numeric(`within ${by}`, () => by);
}

/**
 * A list of 0 and 1, equal but for `allowed` elements among those that are not free. `free(index)` elements lie so near to their threshold that
 * rounding may decide them.
 */
export function mask(
  options: {
    allowed?: number;
    free?: (expected: Expected, address: string) => (index: number) => boolean;
  } = {},
): Tolerance {
  const allowed = options.allowed ?? 0;
  const freeOf = options.free ?? ((): ((index: number) => boolean) => () => false);
  return {
    name: allowed === 0 ? "equal mask" : `mask equal up to ${allowed} elements`,
    worst(actual, wanted, expected, address) {
      const free = freeOf(expected, address);
      const different: number[] = [];
      for (let index = 0; index < wanted.length; index++) {
        if (actual[index] !== wanted[index] && !free(index)) different.push(index);
      }
      const [index] = different;
      return index === undefined || different.length <= allowed
        ? null
        : { index, by: `${different.length} elements differ` };
    },
    moved(wanted, index, expected, address) {
      const free = freeOf(expected, address);
      const values: Scalar[] = Array.from(wanted);
      let toFlip = Math.max(1, 10 * allowed);
      for (let step = 0; step < values.length && toFlip > 0; step++) {
        const at = (index + step) % values.length;
        if (free(at)) continue;
        values[at] = values[at] === 0 ? 1 : 0;
        toFlip--;
      }
      return values;
    },
  };
}

/** A count that may be off by `slack`. */
export function count(slack: (expected: Expected, address: string) => number): Tolerance {
  return {
    name: "count",
    worst(actual, wanted, expected, address) {
      const difference = Math.abs((actual[0] as number) - (wanted[0] as number));
      return difference <= slack(expected, address) ? null : { index: 0, by: `off by ${difference}` };
    },
    moved: (wanted, _index, expected, address) => [
      (wanted[0] as number) + Math.max(1, 10 * slack(expected, address)),
    ],
  };
}

/** The last column of the table in the fixtures' README. */
export const TOLERANCE = {
  logits: relative(1e-4),
  loss: relative(1e-5),
  optionScores: relative(1e-4),
  /** Elements of vectors of length 1. */
  embedding: absolute(1e-5),
  gradients: relative(2e-4),
  /** What all of an encoder's keys have in common changes no attention: their bias has no gradient, only rounding. */
  noGradient: absolute(1e-5),
  trainingLoss: relative(2e-4),
  gradNorm: relative(2e-4),
  adapter: absolute(2e-6),
  theta: absolute(2e-6),
  taskVector: absolute(2e-6),
  importance: relative(5e-4),
  adaptiveWeights: absolute(1e-4),
  kernel: relative(1e-6),
  quantile: relative(1e-5),
  metric: absolute(1e-12),
  /** Rates are computed in double precision from the settings, on both sides. */
  learningRate: relative(1e-12),
} satisfies Record<string, Tolerance>;

/** The tolerance of the addresses that `at` matches. */
export interface Rule {
  readonly at: RegExp;
  readonly tolerance: Tolerance;
}
