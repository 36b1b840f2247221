import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readEnvironment } from "../native/environment.js";
import { parseSize } from "./size.js";

/** Begins every entry; another form of entries gets another one. */
const magic = Buffer.from("rkiftok1");
const headerBytes = magic.length + 32;
const partEnding = ".part";
/** Milliseconds after which nobody is still writing a part. */
const partLifetime = 3_600_000;
const isOurs = (name: string): boolean => /^[0-9a-f]+\.tokens(\.[0-9a-f]{8}\.part)?$/.test(name);

export interface TokenCacheOptions {
  /** Bytes that the entries may take together; those used longest ago go. */
  limit: number;
  /** Told once when nothing can be written: the work goes on without. */
  onWarning?: (message: string) => void;
}

/**
 * Token ids on disk, by a key that says everything they are a function of. An entry is a file, written beside its place and renamed;
 * one that is damaged, or another's, is made anew. Several processes may use a folder at once.
 *
 * An entry: the magic; SHA-256 of the key and all that follows; then 32-bit words (little endian, as on every machine this runs on): the
 * number of texts, the length of each, and the ids end to end.
 */
export class TokenCache {
  readonly folder: string;
  readonly #limit: number;
  readonly #onWarning: (message: string) => void;
  readonly #underway = new Map<string, Promise<Int32Array[]>>();
  #writes = true;

  constructor(folder: string, { limit, onWarning = () => undefined }: TokenCacheOptions) {
    this.folder = folder;
    this.#limit = limit;
    this.#onWarning = onWarning;
  }

  /**
   * The ids under a key: from the cache, or made and kept. Who asks for ids that are being made waits for those.
   * @param key - a hexadecimal digest
   */
  async get(key: string, make: () => Promise<Int32Array[]>): Promise<Int32Array[]> {
    // Where the other one failed or was stopped, this one tries for itself.
    const underway = this.#underway.get(key);
    const others = underway && (await underway.catch(() => undefined));
    if (others) return [...others];
    const ids = this.#readOrMake(key, make).finally(() => this.#underway.delete(key));
    this.#underway.set(key, ids);
    return [...(await ids)];
  }

  async #readOrMake(key: string, make: () => Promise<Int32Array[]>): Promise<Int32Array[]> {
    const file = join(this.folder, `${key}.tokens`);
    const kept = await read(file, key);
    if (kept) return kept;
    const ids = await make();
    await this.#write(file, key, ids);
    return ids;
  }

  async #write(file: string, key: string, ids: readonly Int32Array[]): Promise<void> {
    if (!this.#writes || entryBytes(ids) > this.#limit) return;
    const part = `${file}.${randomBytes(4).toString("hex")}.part`;
    try {
      await mkdir(this.folder, { recursive: true });
      await writeFile(part, toEntry(key, ids));
      await rename(part, file);
    } catch (error) {
      await rm(part, { force: true }).catch(() => undefined);
      this.#writes = false;
      this.#onWarning(
        `${this.folder}: tokens cannot be kept there (${(error as Error).message}); texts are tokenized anew each time. ` +
          `Point the cache elsewhere (export XDG_CACHE_HOME=/path), or switch it off (tokenCache: null)`,
      );
      return;
    }
    // What cannot be removed now is tried again with the next entry.
    await this.#makeRoom().catch(() => undefined);
  }

  /** Removes what was used longest ago until the rest fits, and parts left by processes that died. Other files are nobody's business. */
  async #makeRoom(): Promise<void> {
    const entries = await Promise.all(
      (await readdir(this.folder)).filter(isOurs).map(async (name) => {
        const file = join(this.folder, name);
        // Gone: another process made room.
        const found = await stat(file).catch(() => undefined);
        return { file, size: found?.size ?? 0, used: found?.mtimeMs ?? 0 };
      }),
    );
    let total = 0;
    for (const { file, size, used } of entries.sort((a, b) => b.used - a.used)) {
      if (file.endsWith(partEnding)) {
        if (Date.now() - used > partLifetime) await rm(file, { force: true });
        continue;
      }
      total += size;
      if (total > this.#limit) await rm(file, { force: true });
    }
  }
}

/**
 * The cache of this user.
 * @param size - most that it may take, such as "1GB"; null: there is none
 * @throws {RkifError} INVALID_ARGUMENT where that is no size.
 */
export function userTokenCache(
  size: string | null,
  onWarning: (message: string) => void,
): TokenCache | undefined {
  if (size === null) return undefined;
  return new TokenCache(join(readEnvironment().cache, "tokens"), {
    limit: parseSize(size, "tokenCache"),
    onWarning,
  });
}

function entryBytes(ids: readonly Int32Array[]): number {
  return headerBytes + 4 * ids.reduce((words, { length }) => words + 1 + length, 1);
}

function toEntry(key: string, ids: readonly Int32Array[]): Buffer {
  const words = [Int32Array.of(ids.length), Int32Array.from(ids, ({ length }) => length), ...ids];
  const payload = Buffer.concat(
    words.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength)),
  );
  return Buffer.concat([magic, digestOf(key, payload), payload]);
}

/** Undefined where there is no entry, or none that is whole and this key's. */
async function read(file: string, key: string): Promise<Int32Array[] | undefined> {
  // Whatever keeps it from being read, the ids can be made.
  const bytes = await readFile(file).catch(() => undefined);
  if (!bytes?.subarray(0, magic.length).equals(magic)) return undefined;
  const payload = bytes.subarray(headerBytes);
  if (!digestOf(key, payload).equals(bytes.subarray(magic.length, headerBytes))) return undefined;
  // What was used last is kept longest. In a folder that may only be read it does not matter.
  const now = new Date();
  await utimes(file, now, now).catch(() => undefined);
  const words = new Int32Array(new Uint8Array(payload).buffer);
  const count = words[0]!;
  let offset = 1 + count;
  return Array.from(words.subarray(1, 1 + count), (length) => words.subarray(offset, (offset += length)));
}

function digestOf(key: string, payload: Uint8Array): Buffer {
  return createHash("sha256").update(key).update(payload).digest();
}
