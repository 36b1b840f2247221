import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { normaliseAnswer, isExactMatch } from "../../../lib/evaluation/exact-match.js";
import { continualMetrics, type AccuracyMatrix } from "../../../lib/evaluation/metrics.js";
import { stem } from "../../../lib/evaluation/porter-stemmer.js";
import { rougeL, type RougeScore } from "../../../lib/evaluation/rouge-l.js";

/** The four files of a fixture folder's metrics/, in the format of its README. */
export interface ExpectedMetrics {
  continual: ContinualCase[];
  rougeL: RougeCase[];
  stems: Record<string, string>;
  exactMatch: ExactMatchCase[];
}

interface ContinualCase {
  R: AccuracyMatrix;
  baseline: (number | null)[] | null;
  op: { value: number; exact: string } | null;
  bwt: { value: number; exact: string } | null;
  fwt: { value: number; exact: string } | null;
}

interface RougeCase {
  prediction: string;
  reference: string;
  stemmed: RougeScore;
  plain: RougeScore;
}

interface ExactMatchCase {
  prediction: string;
  reference: string;
  normalized_prediction: string;
  normalized_reference: string;
  match: boolean;
}

const tolerance = 1e-12;

export async function readExpectedMetrics(folder: string): Promise<ExpectedMetrics> {
  const read = async (name: string): Promise<unknown> =>
    JSON.parse(await readFile(join(folder, "metrics", name), "utf8"));
  return {
    continual: (await read("continual.json")) as ContinualCase[],
    rougeL: (await read("rouge_l.json")) as RougeCase[],
    stems: (await read("stems.json")) as Record<string, string>,
    exactMatch: (await read("exact_match.json")) as ExactMatchCase[],
  };
}

/** Every difference between what lib/evaluation computes and what is expected, as text. */
export function checkMetrics(expected: ExpectedMetrics): string[] {
  return [
    ...checkContinual(expected.continual),
    ...checkRougeL(expected.rougeL),
    ...checkStems(expected.stems),
    ...checkExactMatch(expected.exactMatch),
  ];
}

function checkContinual(cases: readonly ContinualCase[]): string[] {
  return cases.flatMap(({ R, baseline, op, bwt, fwt }, i) => {
    const found = continualMetrics(R, baseline);
    return [
      ...compareMeasure(`continual ${i}: OP`, found.OP, op),
      ...compareMeasure(`continual ${i}: BWT`, found.BWT, bwt),
      ...compareMeasure(`continual ${i}: FWT`, found.FWT, fwt),
    ];
  });
}

function compareMeasure(
  what: string,
  found: number | null,
  expected: { value: number; exact: string } | null,
): string[] {
  if (expected === null) return found === null ? [] : [`${what}: found ${found}, expected null`];
  const [numerator, denominator = "1"] = expected.exact.split("/");
  return [
    ...compareNumber(what, found, expected.value),
    ...compareNumber(`${what} (exact)`, found, Number(numerator) / Number(denominator)),
  ];
}

/** Tolerance relative to the value where it is above 1: results are percentages. */
function compareNumber(what: string, found: number | null, expected: number): string[] {
  const close =
    found !== null && Math.abs(found - expected) <= tolerance * Math.max(1, Math.abs(expected));
  return close ? [] : [`${what}: found ${found}, expected ${expected}`];
}

function checkRougeL(cases: readonly RougeCase[]): string[] {
  return cases.flatMap(({ prediction, reference, stemmed, plain }, i) =>
    Object.entries({ stemmed, plain }).flatMap(([form, expected]) => {
      const found = rougeL(prediction, reference, { stemmer: form === "stemmed" });
      return (["precision", "recall", "fmeasure"] as const).flatMap((part) =>
        compareNumber(`rouge_l ${i}: ${form} ${part}`, found[part], expected[part]),
      );
    }),
  );
}

function checkStems(stems: Readonly<Record<string, string>>): string[] {
  return Object.entries(stems).flatMap(([word, expected]) => {
    const found = stem(word);
    return found === expected ? [] : [`stem of ${word}: found ${found}, expected ${expected}`];
  });
}

function checkExactMatch(cases: readonly ExactMatchCase[]): string[] {
  return cases.flatMap((entry, i) => {
    const compare = (what: string, found: unknown, expected: unknown): string[] =>
      found === expected
        ? []
        : [`exact_match ${i}: ${what}: found ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`];
    return [
      ...compare("prediction", normaliseAnswer(entry.prediction), entry.normalized_prediction),
      ...compare("reference", normaliseAnswer(entry.reference), entry.normalized_reference),
      ...compare("match", isExactMatch(entry.prediction, entry.reference), entry.match),
    ];
  });
}
