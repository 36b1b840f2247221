import { distance } from "fastest-levenshtein";

/** ` Did you mean "agnews"?` where a candidate is at most a third of its letters away, otherwise nothing. */
export function suggestion(name: string, candidates: readonly string[]): string {
  let nearest: string | undefined;
  let least = Infinity;
  for (const candidate of candidates) {
    const away = distance(name.toLowerCase(), candidate.toLowerCase());
    if (away < least) [nearest, least] = [candidate, away];
  }
  if (nearest === undefined || least > Math.max(1, Math.max(name.length, nearest.length) / 3)) return "";
  return ` Did you mean "${nearest}"?`;
}
