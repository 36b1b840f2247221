import { RkifError } from "../errors.js";

const units: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["KB", 1e3],
  ["MB", 1e6],
  ["GB", 1e9],
  ["KIB", 2 ** 10],
  ["MIB", 2 ** 20],
  ["GIB", 2 ** 30],
]);

/**
 * Bytes of "5GB", "500MB", "2GiB" or a number of bytes, as transformers reads them.
 * @param name - what is given, for messages
 * @throws {RkifError} INVALID_ARGUMENT for anything else.
 */
export function parseSize(text: string, name: string): number {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim()) ?? [];
  const bytes = Math.floor(Number(number) * (units.get(unit.toUpperCase()) ?? NaN));
  if (!Number.isSafeInteger(bytes) || bytes < 1) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `${name} is ${JSON.stringify(text)}; expected a size such as 5GB, 500MB or 2GiB`,
    );
  }
  return bytes;
}

/** "13.5 GB". */
export function formatSize(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
