import { RkifError } from "../../errors.js";
import type { Tokenizer } from "../../models/tokenizer.js";
import { findTemplate } from "../prompts/find-template.js";
import type { PromptTemplate } from "../prompts/template.js";
import { Instruction } from "./instruction.js";
import { LabelledText } from "./labelled-text.js";
import type { FormatOptions, RecordFormat } from "./record-format.js";
import { TextToText } from "./text-to-text.js";

/** What a format needs of a model; a loaded one has it all. */
export interface FormatModel {
  readonly config: {
    readonly family: "t5" | "decoder" | "encoder";
    /** Tokens of the longest sequence; null: no limit. */
    readonly maxTokens: number | null;
  };
  readonly tokenizer: Pick<Tokenizer, "encode" | "decode" | "prefix" | "suffix" | "special" | "file">;
  /** The checkpoint's folder. */
  readonly folder: string;
  readonly endTokenIds: readonly number[];
  /** The end token that training puts behind an answer. */
  readonly endTokenId: number | null;
}

/**
 * The format of a model's records: text to text for T5, instruction records for decoders, labelled texts for encoders.
 * @throws {RkifError} CONFIG_INVALID or INVALID_ARGUMENT for options that do not fit the model.
 */
export async function openFormat(model: FormatModel, options: FormatOptions = {}): Promise<RecordFormat> {
  switch (model.config.family) {
    case "t5":
      return openTextToText(model, options);
    case "decoder":
      return Instruction.open(model.tokenizer, {
        template: await findTemplate(options.promptTemplate ?? "alpaca", model),
        cutoffTokens: options.cutoffTokens ?? 512,
        endTokenId: model.endTokenId,
      });
    case "encoder":
      return openLabelledText(model, options);
  }
}

async function openTextToText(model: FormatModel, options: FormatOptions): Promise<RecordFormat> {
  const { promptTemplate, sourceTokens, targetTokens } = options;
  return new TextToText(model.tokenizer, {
    template: await notChat(promptTemplate ?? "plain", model),
    ...(typeof sourceTokens === "number" ? { sourceTokens } : {}),
    ...(targetTokens === undefined ? {} : { targetTokens }),
    endTokenId: model.endTokenId,
  });
}

async function openLabelledText(
  model: FormatModel,
  { encoderText = "input", promptTemplate, sourceTokens }: FormatOptions,
): Promise<RecordFormat> {
  if (encoderText === "input" && typeof promptTemplate === "string") {
    throw new RkifError(
      "CONFIG_INVALID",
      `promptTemplate is ${JSON.stringify(promptTemplate)}, but encoderText is "input": an encoder then reads a record's input alone; ` +
        `set encoderText to "prompt", or leave promptTemplate out`,
    );
  }
  return new LabelledText(model.tokenizer, {
    template: encoderText === "input" ? null : await notChat(promptTemplate ?? "plain", model),
    sourceTokens: Math.min(sourceTokens ?? 256, model.config.maxTokens ?? Infinity),
  });
}

/** A chat template brings special tokens and answers of its own, which only decoders continue. */
async function notChat(name: string, model: FormatModel): Promise<PromptTemplate> {
  if (name !== "chat") return findTemplate(name, model);
  throw new RkifError(
    "CONFIG_INVALID",
    `promptTemplate is "chat", which is for decoders; the model in ${model.folder} is of family ${model.config.family}: ` +
      `use "plain", "alpaca" or a template text of your own`,
  );
}
