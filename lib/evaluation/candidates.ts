import type { RecordFormat } from "../data/formats/record-format.js";
import { normaliseAnswer } from "../data/normalise-answer.js";
import { RkifError } from "../errors.js";

export interface CandidateOptions {
  /** Texts to choose an answer from. Texts that are equal after normalisation count once, in the first spelling. */
  candidates: readonly string[];
  /** Candidates that belong to the record's own task; with them, `ownLabelAccuracy` is reported as well. */
  ownLabels?: readonly string[];
  /** Best by the mean (default) or the sum of the log probabilities of a candidate's tokens. */
  rank?: "mean" | "sum";
  /**
   * Score what ends an answer (the end token) behind a candidate too. Default false: candidates are scored exactly as listed.
   */
  candidateSpecialTokens?: boolean;
}

export interface Candidates {
  texts: string[];
  ids: Int32Array[];
  rank: "mean" | "sum";
  /** Numbers of the own task's candidates. */
  own: number[] | undefined;
}

/** Distinct candidates and their tokens. */
export async function prepareCandidates(
  format: Pick<RecordFormat, "encodeCandidates">,
  { candidates, ownLabels, rank = "mean", candidateSpecialTokens = false }: CandidateOptions,
): Promise<Candidates> {
  const byAnswer = new Map<string, string>();
  for (const text of candidates) {
    const answer = normaliseAnswer(text);
    if (!byAnswer.has(answer)) byAnswer.set(answer, text);
  }
  if (byAnswer.size === 0) {
    throw new RkifError("INVALID_ARGUMENT", "there are no candidates; expected at least one label to score");
  }
  const texts = [...byAnswer.values()];
  const answers = [...byAnswer.keys()];
  const ids = await format.encodeCandidates(texts, candidateSpecialTokens);
  const empty = ids.findIndex((option) => option.length === 0);
  if (empty !== -1) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `the candidate ${JSON.stringify(texts[empty])} has no tokens; expected labels with text (evaluate by generation otherwise)`,
    );
  }
  const own = ownLabels && [...new Set(ownLabels.map(normaliseAnswer))];
  if (own?.length === 0) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      "ownLabels is empty; expected at least one label, or no ownLabels",
    );
  }
  return {
    texts,
    ids,
    rank,
    own: own?.map((answer) => {
      const number = answers.indexOf(answer);
      if (number !== -1) return number;
      throw new RkifError("INVALID_ARGUMENT", `the own label "${answer}" is not among the candidates`);
    }),
  };
}

/** Number of the best candidate by its sum of log probabilities, of all or of `among`; equal ones by lower number. */
export function pickBest({ ids, rank }: Candidates, sums: Float64Array, among?: readonly number[]): number {
  let best = -1;
  let highest = -Infinity;
  for (const number of among ?? ids.keys()) {
    const sum = sums[number]!;
    const score = rank === "mean" ? sum / ids[number]!.length : sum;
    // A NaN is never chosen over a number, and the first candidate stands where all are NaN.
    if (best === -1 || score > highest) {
      best = number;
      highest = Number.isNaN(score) ? -Infinity : score;
    }
  }
  return best;
}
