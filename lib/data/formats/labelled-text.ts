import { RkifError } from "../../errors.js";
import type { Tokenizer } from "../../models/tokenizer.js";
import type { PackedBatch } from "../../native/contract.js";
import { normaliseAnswer } from "../normalise-answer.js";
import { concatenate, pack } from "../pack.js";
import type { PromptFields, PromptTemplate } from "../prompts/template.js";
import type { TaskRecord } from "../records.js";
import type { EncodedPrompts, EncodedRecord, EncodedRecords, RecordFormat } from "./record-format.js";
import { checkLength, isCut, surround } from "./surround.js";

export interface LabelledTextOptions {
  /** How a record's text is written; null: its input alone. */
  template: PromptTemplate | null;
  /** Most tokens of a text, and of a label, special tokens included. */
  sourceTokens: number;
}

/** Encoders: a record is its text and the number of its label among all labels seen so far, which go with every batch. */
export class LabelledText implements RecordFormat {
  readonly family = "encoder";
  readonly #tokenizer: Pick<Tokenizer, "encode" | "prefix" | "suffix">;
  readonly #options: LabelledTextOptions;
  readonly #candidates: Int32Array[] = [];
  /** Number of each label, by its normalised form. */
  readonly #numbers = new Map<string, number>();

  /** @throws {RkifError} INVALID_ARGUMENT for a length without room for text. */
  constructor(
    tokenizer: Pick<Tokenizer, "encode" | "prefix" | "suffix" | "file">,
    options: LabelledTextOptions,
  ) {
    this.#tokenizer = tokenizer;
    this.#options = options;
    checkLength("sourceTokens", options.sourceTokens, tokenizer, tokenizer.file);
  }

  /** @throws {RkifError} DATA_INVALID for a label without text. */
  async addLabels(labels: readonly string[]): Promise<void> {
    const added = new Map<string, string>();
    for (const label of labels) {
      const answer = normaliseAnswer(label);
      if (answer === "") {
        throw new RkifError(
          "DATA_INVALID",
          `the label ${JSON.stringify(label)} has no text; an encoder compares texts with labels: expected a word for every output`,
        );
      }
      if (!this.#numbers.has(answer) && !added.has(answer)) added.set(answer, label);
    }
    const ids = await this.encodeCandidates([...added.values()]);
    for (const answer of added.keys()) this.#numbers.set(answer, this.#numbers.size);
    this.#candidates.push(...ids);
  }

  async encode(records: readonly TaskRecord[]): Promise<EncodedRecords> {
    const labels = records.map((record, i) => this.#numberOf(record, i));
    const { prompts, cut } = await this.encodePrompts(records);
    return {
      records: prompts.map((inputIds, key) => ({ inputIds, labels: Int32Array.of(labels[key]!), key })),
      cutSources: cut,
      cutTargets: 0,
    };
  }

  async encodePrompts(records: readonly PromptFields[]): Promise<EncodedPrompts> {
    const texts = records.map((record, i) => this.#textOf(record, `record ${i}`));
    const coded = await this.#tokenizer.encode(texts, { specialTokens: false });
    const { sourceTokens } = this.#options;
    return {
      prompts: coded.map((text) => surround(text, this.#tokenizer, sourceTokens)),
      cut: coded.filter((text) => isCut(text, this.#tokenizer, sourceTokens)).length,
    };
  }

  /** As the texts they are compared with: with the special tokens around them. */
  async encodeCandidates(texts: readonly string[]): Promise<Int32Array[]> {
    const coded = await this.#tokenizer.encode(texts, { specialTokens: false });
    return coded.map((text) => surround(text, this.#tokenizer, this.#options.sourceTokens));
  }

  pack(records: readonly EncodedRecord[]): PackedBatch {
    const { ids, lengths } = concatenate(this.#candidates);
    return { ...pack(records), candidateIds: ids, candidateLengths: lengths };
  }

  #numberOf({ id, output }: TaskRecord, index: number): number {
    const number = this.#numbers.get(normaliseAnswer(output));
    if (number !== undefined) return number;
    throw new RkifError(
      "DATA_INVALID",
      `record ${index}${id === undefined ? "" : ` (id ${JSON.stringify(id)})`} has the output ${JSON.stringify(output)}, which is not among ` +
        `the ${this.#numbers.size} labels of the tasks so far; expected one of the outputs of the training file`,
    );
  }

  #textOf(record: PromptFields, where: string): string {
    const { template } = this.#options;
    if (template !== null) return template.writer(record, where)(record);
    if (record.input !== "") return record.input;
    throw new RkifError(
      "DATA_INVALID",
      `${where} has an empty input, and encoderText is "input"; expected some text, or encoderText "prompt" for the instruction as well`,
    );
  }
}
