import { RkifError } from "../../errors.js";
import type { Tokenizer } from "../../models/tokenizer.js";
import { suggestion } from "../suggest.js";
import { alpaca, hasPlaces, ownTemplate, plain } from "./built-in.js";
import { readChatTemplate } from "./chat-template.js";
import { chatPrompt } from "./chat.js";
import type { PromptTemplate } from "./template.js";

/** Where a chat template is looked for, and what it is written with. */
export interface ChatSource {
  readonly folder: string;
  readonly tokenizer: Pick<Tokenizer, "special" | "decode">;
  readonly endTokenIds: readonly number[];
}

const names = ["alpaca", "plain", "chat"];

/**
 * The template of a name ("alpaca", "plain", "chat"), or of a text with {instruction} and {input}.
 * @throws {RkifError} CONFIG_INVALID for another name, and for "chat" where the checkpoint has no chat template.
 */
export async function findTemplate(template: string, chat: ChatSource): Promise<PromptTemplate> {
  if (template === "alpaca") return alpaca;
  if (template === "plain") return plain;
  if (template === "chat") {
    return chatPrompt(await readChatTemplate(chat.folder), chat.tokenizer, chat.endTokenIds);
  }
  if (hasPlaces(template)) return ownTemplate(template);
  throw new RkifError(
    "CONFIG_INVALID",
    `promptTemplate is ${JSON.stringify(template)}; expected ${names.join(", ")}, or a text with {instruction} and {input} ` +
      `where the record's texts go.${suggestion(template, names)}`,
  );
}
