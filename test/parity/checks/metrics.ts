/** metrics/: measures of continual learning, Rouge-L, stems, exact match. */
import { isExactMatch, normaliseAnswer } from "../../../lib/evaluation/exact-match.js";
import { continualMetrics, type AccuracyMatrix } from "../../../lib/evaluation/metrics.js";
import { stem } from "../../../lib/evaluation/porter-stemmer.js";
import { rougeL } from "../../../lib/evaluation/rouge-l.js";
import type { Check } from "../check.js";
import { addressJson, type Values } from "../expected.js";
import { filesIn, readJson, type FixtureSet } from "../fixtures.js";
import { EQUAL, GIVEN, TOLERANCE, type Tolerance } from "../tolerances.js";

interface Learning {
  R: AccuracyMatrix;
  baseline: (number | null)[] | null;
}

interface Pair {
  prediction: string;
  reference: string;
}

const measured = (value: number | null): { value: number; exact: number } | null =>
  value === null ? null : { value, exact: value };

/** From a file's inputs a document like the file's, with computed values in place of the expected. */
const computations: Record<string, (given: never) => unknown> = {
  continual: (given: Learning[]) =>
    given.map(({ R, baseline }) => {
      const { OP, BWT, FWT } = continualMetrics(R, baseline);
      return { op: measured(OP), bwt: measured(BWT), fwt: measured(FWT) };
    }),
  rouge_l: (given: Pair[]) =>
    given.map(({ prediction, reference }) => ({
      stemmed: rougeL(prediction, reference),
      plain: rougeL(prediction, reference, { stemmer: false }),
    })),
  stems: (given: Record<string, string>) =>
    Object.fromEntries(Object.keys(given).map((word) => [word, stem(word)])),
  exact_match: (given: Pair[]) =>
    given.map(({ prediction, reference }) => ({
      normalized_prediction: normaliseAnswer(prediction),
      normalized_reference: normaliseAnswer(reference),
      match: isExactMatch(prediction, reference),
    })),
};

const kindOf = (set: FixtureSet): string => set.name.slice("metrics/".length);

function fromFraction(text: unknown): number {
  const [numerator, denominator = "1"] = String(text).split("/");
  return Number(numerator) / Number(denominator);
}

/** The expected value is a fraction as text, "145/2"; the computed one a number. */
const exactFraction: Tolerance = {
  name: `${TOLERANCE.metric.name} of the fraction`,
  worst: (actual, wanted, expected, address) =>
    TOLERANCE.metric.worst(actual, Array.from(wanted, fromFraction), expected, address),
  moved: (wanted, index, expected, address) =>
    TOLERANCE.metric.moved(Array.from(wanted, fromFraction), index, expected, address).map(String),
};

export const metrics: Check = {
  folder: "metrics",
  find: (root) =>
    filesIn(root, "metrics", /\.json$/).map((file) => {
      const name = `metrics/${file.replace(/\.json$/, "")}`;
      return { root, name, files: [`${name}.json`] };
    }),
  unsupported: (set) => (kindOf(set) in computations ? null : "no check for this metric yet"),
  rules: [
    { at: /^continual\.json#\d+\/(R\/\d+|R|baseline)$/, tolerance: GIVEN },
    { at: /#\d+\/(prediction|reference)$/, tolerance: GIVEN },
    { at: /^continual\.json#\d+\/\w+\/exact$/, tolerance: exactFraction },
    { at: /^continual\.json#\d+\/\w+\/value$/, tolerance: TOLERANCE.metric },
    { at: /^continual\.json#\d+\/(op|bwt|fwt)$/, tolerance: EQUAL },
    { at: /^rouge_l\.json#\d+\/(stemmed|plain)\//, tolerance: TOLERANCE.metric },
    { at: /^stems\.json#/, tolerance: EQUAL },
    { at: /^exact_match\.json#\d+\/(normalized_\w+|match)$/, tolerance: EQUAL },
  ],
  compute(set: FixtureSet): Promise<Values> {
    const kind = kindOf(set);
    const computation = computations[kind];
    if (computation === undefined) throw new Error(`no check for ${set.name}`);
    const computed = computation(readJson<never>(set.root, `${set.name}.json`));
    return Promise.resolve(addressJson(`${kind}.json`, computed));
  },
};
