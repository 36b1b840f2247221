import { join } from "node:path";
import { RkifError } from "../../errors.js";
import { exists } from "../../models/exists.js";
import { readJsonFile, shown } from "../../models/json-file.js";
import { readTextFile } from "../text-file.js";

/** A chat template's text (Jinja), and the file it stands in. */
export interface ChatTemplate {
  readonly file: string;
  readonly text: string;
}

/**
 * The chat template of a checkpoint, from the first of the places where one may stand: chat_template.jinja, chat_template.json,
 * tokenizer_config.json. Of several by name, "default".
 * @throws {RkifError} CONFIG_INVALID where there is none, or none that can be chosen; the message names folder or file.
 */
export async function readChatTemplate(folder: string): Promise<ChatTemplate> {
  const own = join(folder, "chat_template.jinja");
  if (await exists(own)) return { file: own, text: await readTextFile(own) };
  for (const name of ["chat_template.json", "tokenizer_config.json"]) {
    const file = join(folder, name);
    if (!(await exists(file))) continue;
    const content = await readJsonFile(file, "CONFIG_INVALID");
    const template = (content as { chat_template?: unknown } | null)?.chat_template;
    if (template !== undefined && template !== null) return { file, text: templateText(template, file) };
  }
  throw new RkifError(
    "CONFIG_INVALID",
    `promptTemplate is "chat", but ${folder} has no chat template (chat_template.jinja, or "chat_template" in ` +
      `tokenizer_config.json): it is not an instruct checkpoint; use "alpaca", "plain" or a template text of your own`,
  );
}

function templateText(template: unknown, file: string): string {
  if (typeof template === "string") return template;
  const entries: unknown[] = Array.isArray(template) ? template : [];
  const named = entries.filter(isNamed);
  const chosen = named.find(({ name }) => name === "default") ?? (named.length === 1 ? named[0] : undefined);
  if (chosen !== undefined && named.length === entries.length) return chosen.template;
  const found =
    named.length > 0 ? `named ${named.map(({ name }) => shown(name)).join(", ")}` : shown(template);
  throw new RkifError(
    "CONFIG_INVALID",
    `${file}: "chat_template" is ${found}; expected a text, or a list of {name, template} with one named "default"`,
  );
}

function isNamed(entry: unknown): entry is { name: string; template: string } {
  const { name, template } = (entry ?? {}) as Record<string, unknown>;
  return typeof name === "string" && typeof template === "string";
}
