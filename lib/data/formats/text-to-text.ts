import type { Tokenizer } from "../../models/tokenizer.js";
import type { PackedBatch } from "../../native/contract.js";
import { pack } from "../pack.js";
import { plain } from "../prompts/built-in.js";
import type { PromptFields, PromptTemplate } from "../prompts/template.js";
import type { TaskRecord } from "../records.js";
import type { EncodedPrompts, EncodedRecord, EncodedRecords, RecordFormat } from "./record-format.js";
import { checkLength, isCut, surround, type Around } from "./surround.js";

export interface TextToTextOptions {
  /** Default {@link plain}. */
  template?: PromptTemplate;
  /** Most tokens of a prompt, end token included. Default 1024. */
  sourceTokens?: number;
  /** Most tokens of an output, end token included. Default 128. */
  targetTokens?: number;
  /** Put behind prompts and outputs where the tokenizer's own template does not; null: nothing is added. */
  endTokenId: number | null;
}

/** T5: the encoder reads the prompt, the decoder writes the output. What is too long loses its last tokens of text. */
export class TextToText implements RecordFormat {
  readonly family = "t5";
  readonly #tokenizer: Pick<Tokenizer, "encode">;
  readonly #around: Around;
  readonly #template: PromptTemplate;
  readonly #sourceTokens: number;
  readonly #targetTokens: number;

  /** @throws {RkifError} INVALID_ARGUMENT for lengths without room for text. */
  constructor(
    tokenizer: Pick<Tokenizer, "encode" | "prefix" | "suffix" | "file">,
    { template = plain, sourceTokens = 1024, targetTokens = 128, endTokenId }: TextToTextOptions,
  ) {
    const suffix = [...tokenizer.suffix];
    if (endTokenId !== null && suffix.at(-1) !== endTokenId) suffix.push(endTokenId);
    this.#tokenizer = tokenizer;
    this.#around = { prefix: tokenizer.prefix, suffix };
    this.#template = template;
    this.#sourceTokens = sourceTokens;
    this.#targetTokens = targetTokens;
    for (const [name, tokens] of Object.entries({ sourceTokens, targetTokens }))
      checkLength(name, tokens, this.#around, tokenizer.file);
  }

  async addLabels(): Promise<void> {}

  async encode(records: readonly TaskRecord[]): Promise<EncodedRecords> {
    const { prompts, cut } = await this.encodePrompts(records);
    const outputs = records.map(({ output }) => output);
    const targets = await this.#tokenizer.encode(outputs, { specialTokens: false });
    const most = this.#targetTokens;
    return {
      records: prompts.map((inputIds, key) => ({
        inputIds,
        labels: surround(targets[key]!, this.#around, most),
        key,
      })),
      cutSources: cut,
      cutTargets: targets.filter((target) => isCut(target, this.#around, most)).length,
    };
  }

  async encodePrompts(records: readonly PromptFields[]): Promise<EncodedPrompts> {
    const texts = records.map((record, i) => this.#template.writer(record, `record ${i}`)(record));
    const sources = await this.#tokenizer.encode(texts, { specialTokens: false });
    const most = this.#sourceTokens;
    return {
      prompts: sources.map((source) => surround(source, this.#around, most)),
      cut: sources.filter((source) => isCut(source, this.#around, most)).length,
    };
  }

  /** Exactly as listed: the decoder begins with them. */
  async encodeCandidates(texts: readonly string[], withEnd: boolean): Promise<Int32Array[]> {
    return this.#tokenizer.encode(texts, { specialTokens: withEnd });
  }

  pack(records: readonly EncodedRecord[]): PackedBatch {
    return pack(records);
  }
}
