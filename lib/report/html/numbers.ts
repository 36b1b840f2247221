import { formatScore } from "../table.js";

/** What stands where nothing was measured. */
export const missing = "–";

/** A percentage with one decimal. */
export function percent(value: number | null | undefined): string {
  if (value === null || value === undefined) return missing;
  const text = value.toFixed(1);
  return text === "-0.0" ? "0.0" : text;
}

/** A share of 1 as a percentage. */
export const share = (value: number | null | undefined): string =>
  percent(value === null || value === undefined ? null : 100 * value);

/** Mean ± deviation, each with two decimals. */
export function meanAndDeviation({
  mean,
  deviation,
}: {
  mean: number | null;
  deviation: number | null;
}): string {
  if (mean === null) return missing;
  return deviation === null ? formatScore(mean) : `${formatScore(mean)} ± ${formatScore(deviation)}`;
}

/** Three digits, whatever the size. */
export function threeDigits(value: number | null | undefined): string {
  if (value === null || value === undefined) return missing;
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e4 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

/** A count with a thin space between thousands. */
export function count(value: number | null | undefined): string {
  if (value === null || value === undefined) return missing;
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

export const plural = (number: number, word: string): string => `${number} ${word}${number === 1 ? "" : "s"}`;
