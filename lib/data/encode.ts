import { RkifError } from "../errors.js";
import type { Tokenizer } from "../models/tokenizer.js";
import { promptOf, type TaskRecord } from "./records.js";

/** A record as token ids. */
export interface EncodedRecord {
  readonly inputIds: Int32Array;
  /** The output's tokens. */
  readonly labels: Int32Array;
  /** Index of the record in its set: what its dropout masks belong to. */
  readonly key: number;
}

export interface EncodeRecordsOptions {
  /** Most tokens of a prompt, end token included. Default 1024. */
  sourceTokens?: number;
  /** Most tokens of an output, end token included. Default 128. */
  targetTokens?: number;
  /** Put behind prompts and outputs where the tokenizer's own template does not; null: nothing is added. */
  endTokenId: number | null;
}

export interface EncodedRecords {
  records: EncodedRecord[];
  /** Records whose prompt, and whose output, was longer than allowed. */
  cutSources: number;
  cutTargets: number;
}

/**
 * Tokenizes prompts (instruction and input) and outputs. What is too long loses its last text tokens and keeps the special
 * tokens around it, as transformers truncates.
 */
export async function encodeRecords(
  records: readonly TaskRecord[],
  tokenizer: Pick<Tokenizer, "encode" | "prefix" | "suffix" | "file">,
  { sourceTokens = 1024, targetTokens = 128, endTokenId }: EncodeRecordsOptions,
): Promise<EncodedRecords> {
  const suffix = [...tokenizer.suffix];
  if (endTokenId !== null && suffix.at(-1) !== endTokenId) suffix.push(endTokenId);
  const around = { prefix: tokenizer.prefix, suffix };
  const least = around.prefix.length + suffix.length + 1;
  for (const [name, tokens] of Object.entries({ sourceTokens, targetTokens })) {
    if (!Number.isSafeInteger(tokens) || tokens < least) {
      throw new RkifError(
        "INVALID_ARGUMENT",
        `${name} is ${tokens}; expected a whole number of at least ${least}: one token of text and the special tokens of ${tokenizer.file}`,
      );
    }
  }

  const sources = await tokenizer.encode(records.map(promptOf), { specialTokens: false });
  const targets = await tokenizer.encode(
    records.map((record) => record.output),
    { specialTokens: false },
  );
  const isCut = (most: number) => (ids: Int32Array) => ids.length + least - 1 > most;
  return {
    records: records.map((_, key) => ({
      inputIds: surround(sources[key]!, around, sourceTokens),
      labels: surround(targets[key]!, around, targetTokens),
      key,
    })),
    cutSources: sources.filter(isCut(sourceTokens)).length,
    cutTargets: targets.filter(isCut(targetTokens)).length,
  };
}

function surround(
  text: Int32Array,
  { prefix, suffix }: { prefix: readonly number[]; suffix: readonly number[] },
  most: number,
): Int32Array {
  const kept = text.subarray(0, most - prefix.length - suffix.length);
  return Int32Array.of(...prefix, ...kept, ...suffix);
}
