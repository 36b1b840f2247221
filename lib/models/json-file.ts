import { constants, open } from "node:fs/promises";
import type { z } from "zod";
import { type ErrorCode, RkifError } from "../errors.js";

/**
 * The parsed content of a JSON file of a checkpoint.
 * @throws {RkifError} `code` where it is missing, no regular file, not UTF-8 or not JSON; the message names the file.
 */
export async function readJsonFile(file: string, code: ErrorCode): Promise<unknown> {
  const bytes = await readRegularFile(file, code);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new RkifError(code, `${file}: is not JSON in UTF-8: ${(cause as Error).message}`, { cause });
  }
}

/** A file's bytes. @throws {RkifError} `code` where it is missing, unreadable or no regular file. */
export async function readRegularFile(file: string, code: ErrorCode): Promise<Uint8Array> {
  let handle;
  try {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer for ever.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!(await handle.stat()).isFile()) throw new Error("it is not a regular file");
    return await handle.readFile();
  } catch (cause) {
    throw new RkifError(code, `${file}: cannot be read: ${(cause as Error).message}`, { cause });
  } finally {
    await handle?.close();
  }
}

/**
 * `value` as the schema reads it. The schema's messages say what is expected.
 * @throws {RkifError} `code` naming file, field, what was found and what was expected.
 */
export function checkFields<T>(schema: z.ZodType<T>, value: unknown, file: string, code: ErrorCode): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => {
    const found = path.reduce<unknown>((inner, key) => (inner as Record<PropertyKey, unknown>)[key], value);
    const name = path.length === 0 ? "the content" : `"${path.map(String).join(".")}"`;
    return `${name} is ${found === undefined ? "missing" : shown(found)}; expected ${message}`;
  });
  throw new RkifError(code, `${file}: ${problems.join(". ")}`);
}

/** A value for a message, cut where it is long. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
