import { RkifError } from "../errors.js";
import { readRegularFile } from "../models/json-file.js";

/**
 * The text of a UTF-8 file, without a byte order mark.
 * @throws {RkifError} DATA_INVALID where it is missing, unreadable, no regular file or not UTF-8.
 */
export async function readTextFile(file: string): Promise<string> {
  return decodeText(file, await readRegularFile(file, "DATA_INVALID"));
}

/** The error for a file whose content is not as expected. */
export function invalid(file: string, message: string, cause?: unknown): RkifError {
  return new RkifError("DATA_INVALID", `${file}: ${message}`, cause === undefined ? undefined : { cause });
}

function decodeText(file: string, bytes: Uint8Array): string {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    throw invalid(file, "is UTF-16 text; expected UTF-8");
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw invalid(file, `is not UTF-8 text (line ${firstBrokenLine(bytes)}); expected UTF-8`, cause);
  }
}

/** The line of the first byte that breaks UTF-8; no multi-byte character holds a line feed, so lines can be tried alone. */
function firstBrokenLine(bytes: Uint8Array): number {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let line = 1, start = 0; ; line++) {
    const end = bytes.indexOf(10, start);
    if (end === -1) return line;
    try {
      decoder.decode(bytes.subarray(start, end));
    } catch {
      return line;
    }
    start = end + 1;
  }
}
