import { stem } from "./porter-stemmer.js";

/** Each from 0 to 1. */
export interface RougeScore {
  precision: number;
  recall: number;
  fmeasure: number;
}

export interface RougeOptions {
  /** Compare word stems. Default true, as generation tasks are published. */
  stemmer?: boolean;
}

/** Rouge-L of a sentence, as the Python package rouge-score computes it: by the longest common subsequence of words. */
export function rougeL(
  prediction: string,
  reference: string,
  { stemmer = true }: RougeOptions = {},
): RougeScore {
  const predicted = rougeTokens(prediction, stemmer);
  const wanted = rougeTokens(reference, stemmer);
  if (predicted.length === 0 || wanted.length === 0) return { precision: 0, recall: 0, fmeasure: 0 };
  const common = commonSubsequence(predicted, wanted);
  const precision = common / predicted.length;
  const recall = common / wanted.length;
  const fmeasure = common === 0 ? 0 : (2 * precision * recall) / (precision + recall);
  return { precision, recall, fmeasure };
}

/** Runs of a-z and 0-9 of the lower-cased text; those longer than three letters stemmed where asked. */
function rougeTokens(text: string, stemmer: boolean): string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return stemmer ? words.map((word) => (word.length > 3 ? stem(word) : word)) : words;
}

/** Length of the longest common subsequence, one row of the table at a time. */
function commonSubsequence(a: readonly string[], b: readonly string[]): number {
  const row = new Int32Array(b.length + 1);
  for (const word of a) {
    let diagonal = 0;
    for (let j = 1; j <= b.length; j++) {
      const above = row[j]!;
      row[j] = word === b[j - 1] ? diagonal + 1 : Math.max(above, row[j - 1]!);
      diagonal = above;
    }
  }
  return row[b.length]!;
}
