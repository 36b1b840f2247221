import { normaliseAnswer } from "../data/normalise-answer.js";

export { normaliseAnswer };

export function isExactMatch(prediction: string, reference: string): boolean {
  return normaliseAnswer(prediction) === normaliseAnswer(reference);
}
