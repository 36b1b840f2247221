import type { PackedBatch } from "../../native/contract.js";
import type { PromptFields } from "../prompts/template.js";
import type { TaskRecord } from "../records.js";

/** A record as token ids, as the family's batches hold them (see `PackedBatch` of the native contract). */
export interface EncodedRecord {
  readonly inputIds: Int32Array;
  /** What the loss is a sum over; -100 is not predicted. */
  readonly labels: Int32Array;
  /** Index of the record in its set: what its dropout masks belong to. */
  readonly key: number;
}

export interface EncodedRecords {
  records: EncodedRecord[];
  /** Records whose prompt, and whose output, was longer than allowed. */
  cutSources: number;
  cutTargets: number;
}

export interface EncodedPrompts {
  /** What generation and scoring start from, at least one token each; for an encoder, the texts to be embedded. */
  prompts: Int32Array[];
  /** Prompts that were longer than allowed. */
  cut: number;
}

/** How the records of tasks become a family's token ids. One is used for a whole run: an encoder's grows with the labels seen. */
export interface RecordFormat {
  readonly family: "t5" | "decoder" | "encoder";
  /**
   * Tells the labels of a task before anything of it is encoded, in the order of the tasks. An encoder's candidates are the labels told so
   * far; their numbers never change, and telling a label again changes nothing. Other families have no need of them.
   */
  addLabels(labels: readonly string[]): Promise<void>;
  /** Records to learn from. @throws {RkifError} DATA_INVALID naming a record that cannot be learned. */
  encode(records: readonly TaskRecord[]): Promise<EncodedRecords>;
  /** Prompts to answer; no outputs are looked at. */
  encodePrompts(records: readonly PromptFields[]): Promise<EncodedPrompts>;
  /**
   * Answers to choose from, as they are scored behind a prompt; for an encoder, as they are embedded.
   * @param withEnd - with what ends an answer behind them (an encoder's special tokens are there in any case)
   */
  encodeCandidates(texts: readonly string[], withEnd: boolean): Promise<Int32Array[]>;
  /** Lays records end to end in the given order. */
  pack(records: readonly EncodedRecord[]): PackedBatch;
}

/** How records are written and how long they may be. Each family reads what concerns it. */
export interface FormatOptions {
  /**
   * "alpaca", "plain", "chat" (the checkpoint's own), or a text with {instruction} and {input}; null or absent: "alpaca" for decoders,
   * "plain" for the others.
   */
  promptTemplate?: string | null;
  /** T5 and encoders: most tokens of a prompt, special tokens included; null or absent: 1024, for encoders 256. */
  sourceTokens?: number | null;
  /** T5: most tokens of an output, end token included. Default 128. */
  targetTokens?: number;
  /** Decoders: most tokens of prompt, answer and end token together. Default 512. */
  cutoffTokens?: number;
  /** Encoders: what of a record is compared with the labels, its input alone or the whole prompt. Default "input". */
  encoderText?: "input" | "prompt";
}
