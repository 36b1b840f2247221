import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Tokenizer } from "../../../lib/models/tokenizer.js";

/** One text of a tokenizer's expected.json. */
export interface ExpectedTokens {
  text: string;
  ids: number[];
  ids_no_special: number[];
  decoded: string;
  decoded_with_special: string;
}

export async function readExpectedTokens(folder: string): Promise<ExpectedTokens[]> {
  return JSON.parse(await readFile(join(folder, "expected.json"), "utf8")) as ExpectedTokens[];
}

/** Every difference between the tokenizer in `folder` and what is expected of it, as text. */
export async function checkTokenizer(folder: string, expected: readonly ExpectedTokens[]): Promise<string[]> {
  const tokenizer = await Tokenizer.open(folder);
  const texts = expected.map((entry) => entry.text);
  const ids = expected.map((entry) => entry.ids);
  const found = {
    ids: await tokenizer.encode(texts),
    ids_no_special: await tokenizer.encode(texts, { specialTokens: false }),
    decoded: await tokenizer.decodeBatch(ids),
    decoded_with_special: await tokenizer.decodeBatch(ids, false),
  };
  const mismatches: string[] = [];
  for (const [i, entry] of expected.entries()) {
    for (const field of ["ids", "ids_no_special", "decoded", "decoded_with_special"] as const) {
      const value = found[field][i];
      const [a, b] = [typeof value === "string" ? value : Array.from(value ?? []), entry[field]].map((x) =>
        JSON.stringify(x),
      );
      if (a !== b) mismatches.push(`text ${i} (${JSON.stringify(entry.text)}): ${field}: found ${a}, expected ${b}`);
    }
    const alone = await tokenizer.decode(entry.ids);
    if (alone !== entry.decoded) mismatches.push(`text ${i}: decoded alone: found ${JSON.stringify(alone)}`);
  }
  return mismatches;
}
