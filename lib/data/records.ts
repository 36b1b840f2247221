import { suggestion } from "./suggest.js";
import { invalid, readTextFile } from "./text-file.js";

/** One example of a task, as its file holds it. Other fields are allowed and ignored. */
export interface TaskRecord {
  readonly id?: string | number;
  /** Put before `input` as it stands, without a separator. */
  readonly instruction?: string;
  readonly input: string;
  /** The text to produce. May be empty. */
  readonly output: string;
}

/** The text the model is given. */
export function promptOf(record: Pick<TaskRecord, "instruction" | "input">): string {
  return (record.instruction ?? "") + record.input;
}

/**
 * Reads a file of records: a JSON array, or JSON Lines (one object a line, blank lines skipped). The content decides which:
 * `[` begins an array. A byte order mark in front is skipped. In messages records count from 0, like the array's indices,
 * and lines from 1.
 * @throws {RkifError} DATA_INVALID with file, record and field where anything is not as expected.
 */
export async function readRecords(file: string): Promise<TaskRecord[]> {
  const text = await readTextFile(file);
  if (text.trim() === "") throw invalid(file, `is empty; expected ${expectedContent}`);
  const entries = text.trimStart().startsWith("[") ? parseArray(file, text) : parseLines(file, text);
  if (entries.length === 0) {
    throw invalid(file, `holds no records; expected ${expectedContent}`);
  }
  return entries.map(({ value, where }) => checkRecord(file, where, value));
}

const expectedContent = "a JSON array of records, or one record a line";

interface Entry {
  value: unknown;
  /** "record 17", with the line in JSON Lines. */
  where: string;
}

function parseArray(file: string, text: string): Entry[] {
  try {
    const values = JSON.parse(text) as unknown[];
    return values.map((value, index) => ({ value, where: `record ${index}` }));
  } catch (cause) {
    throw notJson(file, firstBrokenElement(text), cause);
  }
}

function parseLines(file: string, text: string): Entry[] {
  const entries: Entry[] = [];
  text.split("\n").forEach((line, number) => {
    if (line.trim() === "") return;
    const where = `record ${entries.length} (line ${number + 1})`;
    try {
      entries.push({ value: JSON.parse(line), where });
    } catch (cause) {
      throw notJson(file, where, cause);
    }
  });
  return entries;
}

function notJson(file: string, where: string, cause: unknown): Error {
  return invalid(
    file,
    `${where} is not JSON: ${(cause as Error).message}; expected ${expectedContent}`,
    cause,
  );
}

/**
 * Where a broken array goes wrong. JSON.parse names a position only for some errors; but all elements before the broken one are
 * sound, so cutting at the outermost commas finds it.
 */
function firstBrokenElement(text: string): string {
  let start = text.indexOf("[") + 1;
  let depth = 0;
  let record = 0;
  for (let i = start; i <= text.length; i++) {
    const character = text[i];
    if (character === '"') {
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === "\\") i++;
      // A string without an end: the next turn is the end of the text.
      i = Math.min(i, text.length - 1);
    } else if (character === "{" || character === "[") depth++;
    else if (depth > 0 && (character === "}" || character === "]")) depth--;
    else if (character === undefined || (depth === 0 && (character === "," || character === "]"))) {
      const element = text.slice(start, i);
      if (!isJson(element)) {
        const offset = start + (element.length - element.trimStart().length);
        return `record ${record} (line ${lineAt(text, offset)})`;
      }
      if (character === "]") return `the text after record ${record} (line ${lineAt(text, i)})`;
      start = i + 1;
      record++;
    }
  }
  return "the end of the file";
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

function checkRecord(file: string, where: string, value: unknown): TaskRecord {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(
      file,
      `${where} is ${kindOf(value)}; expected an object {id?, instruction?, input, output}`,
    );
  }
  const { id, instruction, input, output } = value as Record<string, unknown>;
  for (const [field, found] of Object.entries({ input, output })) {
    if (found === undefined) {
      const names = Object.keys(value);
      throw invalid(
        file,
        `${where} has no "${field}"; found ${names.length ? names.map((name) => `"${name}"`).join(", ") : "no fields"}, ` +
          `expected "input" and "output" (and, if wanted, "instruction" and "id").${misspelt(field, names)}`,
      );
    }
    if (typeof found !== "string") {
      throw invalid(file, `${where}: "${field}" is ${kindOf(found)}; expected a string`);
    }
  }
  if (instruction !== undefined && typeof instruction !== "string") {
    throw invalid(
      file,
      `${where}: "instruction" is ${kindOf(instruction)}; expected a string, or no such field`,
    );
  }
  if (id !== undefined && typeof id !== "string" && typeof id !== "number") {
    throw invalid(file, `${where}: "id" is ${kindOf(id)}; expected a string or a number, or no such field`);
  }
  const record = {
    ...(id !== undefined && { id }),
    ...(instruction !== undefined && { instruction }),
    input: input as string,
    output: output as string,
  };
  if (promptOf(record) === "") {
    throw invalid(
      file,
      `${where}: "input" is empty, and so is the instruction; expected some text to answer to`,
    );
  }
  return record;
}

/** A field that is there in place of the missing one. */
function misspelt(field: string, names: readonly string[]): string {
  const known = new Set(["id", "instruction", "input", "output"]);
  for (const name of names) {
    if (!known.has(name) && suggestion(name, [field])) return ` Is "${name}" meant to be "${field}"?`;
  }
  return "";
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  return `${typeof value === "string" ? "the string" : `the ${typeof value}`} ${shortened(JSON.stringify(value))}`;
}

function shortened(text: string): string {
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
}
