import { readFile } from "node:fs/promises";
import { Option, type Command } from "commander";
import { z } from "zod";
import { RkifError } from "../errors.js";
import { allOptions } from "../training/config.js";

/** `outerLearningRate` -> `outer-learning-rate`. */
export const flagOf = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Stands for null while commander holds the value: it takes a null for a parser that failed. */
const none = Symbol("none");

interface JsonSchema {
  type?: string | string[];
  const?: unknown;
  enum?: string[];
  anyOf?: JsonSchema[];
  items?: JsonSchema | false;
  prefixItems?: JsonSchema[];
  default?: unknown;
}

/** Gives a command a flag for every option there is; nothing about an option is written twice. */
export function addConfigFlags(command: Command, names?: readonly string[]): void {
  for (const { name, schema, methods } of allOptions()) {
    if (names && !names.includes(name)) continue;
    const json = z.toJSONSchema(schema, { io: "input" }) as JsonSchema;
    const description = `${methods ? `[${methods.join(", ")}] ` : ""}${schema.description ?? ""}${defaultText(json)}`;
    const flag = flagOf(name);
    if (typeNames(json).includes("boolean")) {
      command.addOption(new Option(`--${flag}`, description));
      command.addOption(new Option(`--no-${flag}`).hideHelp());
      continue;
    }
    const choices = json.enum ?? json.anyOf?.find((part) => part.enum)?.enum;
    const value = choices
      ? choices.join("|")
      : (valueNames.find(([type]) => typeNames(json).includes(type))?.[1] ?? "value");
    command.addOption(
      new Option(`--${flag} <${value}>`, description).argParser((text) => parseFlag(flag, text, json)),
    );
  }
}

/** What stands for a flag's value in the help, by type. */
const valueNames: readonly [type: string, name: string][] = [
  ["array", "list"],
  ["object", "json"],
];

/** The options given as flags, by their names in a configuration. */
export function givenOptions(command: Command): Record<string, unknown> {
  const names = new Set(allOptions().map(({ name }) => name));
  const entries = Object.entries(command.opts<Record<string, unknown>>());
  return Object.fromEntries(
    entries
      .filter(([name]) => names.has(name) && command.getOptionValueSource(name) === "cli")
      .map(([name, value]) => [name, value === none ? null : value]),
  );
}

/** A JSON configuration file. @throws {RkifError} CONFIG_INVALID naming the file. */
export async function readConfigFile(file: string): Promise<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw new RkifError(
      "CONFIG_INVALID",
      `${file}: ${(error as Error).message}; expected a JSON object of options`,
    );
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new RkifError("CONFIG_INVALID", `${file}: expected a JSON object of options`);
  }
  const { $schema: _, ...options } = value as Record<string, unknown>;
  return options;
}

function typeNames(schema: JsonSchema): string[] {
  return [schema.type ?? [], (schema.anyOf ?? []).flatMap(typeNames)].flat();
}

/** Texts that stand for themselves. */
function wordsOf(schema: JsonSchema): unknown[] {
  return [schema.const ?? [], (schema.anyOf ?? []).flatMap(wordsOf)].flat();
}

function defaultText({ default: value }: JsonSchema): string {
  if (value === undefined) return "";
  const text =
    value === null
      ? "none"
      : Array.isArray(value)
        ? value.join(",")
        : typeof value === "string"
          ? value
          : JSON.stringify(value);
  return ` (default: ${text})`;
}

/** Text to value; what does not fit stays text and is refused where the whole configuration is checked. */
function parseFlag(flag: string, text: string, schema: JsonSchema): unknown {
  const types = typeNames(schema);
  if (text === "none" && types.includes("null")) return none;
  if (types.includes("number") || types.includes("integer")) {
    const value = Number(text);
    if (text.trim() === "" || Number.isNaN(value)) {
      throw new RkifError("CONFIG_INVALID", `--${flag} is ${JSON.stringify(text)}; expected a number`);
    }
    return value;
  }
  if (types.includes("object")) return parseJson(flag, text);
  // A word that has a meaning of its own beside lists, such as "all-linear".
  const words = wordsOf(schema);
  if (words.includes(text)) return text;
  // Orders may be any name as well as a list, and resolve themselves.
  if (types.includes("array") && (!types.includes("string") || words.length > 0)) {
    const parts = text.split(",").map((part) => part.trim());
    return schema.prefixItems || hasNumbers(schema) ? parts.map(Number) : parts;
  }
  return text;
}

function hasNumbers({ items }: JsonSchema): boolean {
  return items !== undefined && items !== false && typeNames(items).includes("number");
}

function parseJson(flag: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RkifError(
      "CONFIG_INVALID",
      `--${flag} is ${JSON.stringify(text)}; expected a JSON object: ${(cause as Error).message}`,
      { cause },
    );
  }
}
