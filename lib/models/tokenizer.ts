import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as tokenizers from "tokenizers";
import { RkifError } from "../errors.js";
import type { AbortFlag } from "../native/contract.js";
import type { TokenCache } from "./token-cache.js";

export interface EncodeOptions {
  /** Put the tokens around the text that the file's template names (T5: the end token). Default true. */
  specialTokens?: boolean;
  /** Stops within some {@link textsPerCall} texts. */
  abort?: Pick<AbortFlag, "aborted"> | undefined;
}

/** Roles of special tokens, as tokenizer_config.json and special_tokens_map.json name them. */
export type SpecialRole = "bos" | "eos" | "pad" | "unk";

const roles: readonly SpecialRole[] = ["bos", "eos", "pad", "unk"];
/** Roles whose token goes into texts here. Of the others, published files name some that their tokenizer does not have. */
const needed: ReadonlySet<SpecialRole> = new Set(["bos", "eos"]);

/**
 * Texts go in by this many: an encoding holds offsets, masks and strings besides its ids, some hundred bytes a token, and turning
 * native arrays into ids takes the event loop's time.
 */
const textsPerCall = 64;

/** Characters of a call below which tokenizing takes no longer than looking into the cache. */
const fewCharacters = 65536;

/** Another version may split texts otherwise. */
const libraryVersion = (createRequire(import.meta.url)("tokenizers/package.json") as { version: string })
  .version;

/**
 * A tokenizer.json (Hugging Face tokenizers) and, where they stand beside it, the special tokens' names in
 * tokenizer_config.json or special_tokens_map.json. Truncation and padding that the file asks for are switched off, as
 * transformers does: lengths are the caller's. Half a surrogate pair in a text counts as U+FFFD.
 */
export class Tokenizer {
  readonly file: string;
  /** Entries of the vocabulary, added tokens included. A model's embedding may have more rows. */
  readonly size: number;
  /** Entries without the added tokens. */
  readonly baseSize: number;
  /** Tokens the template puts before and after a text. */
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
  /** Special tokens by role; a role nothing names is absent. */
  readonly special: Readonly<Partial<Record<SpecialRole, string>>>;
  readonly #native: tokenizers.Tokenizer;
  readonly #cache: { tokens: TokenCache; fileDigest: string } | undefined;

  private constructor(
    file: string,
    native: tokenizers.Tokenizer,
    template: { prefix: number[]; suffix: number[] },
    special: Partial<Record<SpecialRole, string>>,
    cache: { tokens: TokenCache; fileDigest: string } | undefined,
  ) {
    this.file = file;
    this.#cache = cache;
    this.#native = native;
    this.size = native.getVocabSize(true);
    this.baseSize = native.getVocabSize(false);
    this.prefix = template.prefix;
    this.suffix = template.suffix;
    this.special = special;
  }

  /**
   * Opens a tokenizer.json, or the one in a folder.
   * @param cache where ids of many texts at once are kept; absent: nowhere
   * @throws {RkifError} CHECKPOINT_INVALID where it is missing, unreadable or not a tokenizer; the message names the file.
   */
  static async open(
    fileOrFolder: string,
    { cache: tokens }: { cache?: TokenCache | undefined } = {},
  ): Promise<Tokenizer> {
    const isFolder = (await stat(fileOrFolder).catch(() => undefined))?.isDirectory() ?? false;
    const file = isFolder ? join(fileOrFolder, "tokenizer.json") : fileOrFolder;
    const text = await readText(file);
    if (text === undefined) {
      throw new RkifError(
        "CHECKPOINT_INVALID",
        `${file}: there is no such file; expected a tokenizer.json as Hugging Face tokenizers writes it ` +
          `(in Python: AutoTokenizer.from_pretrained(...).save_pretrained(folder))`,
      );
    }
    let native: tokenizers.Tokenizer;
    try {
      native = tokenizers.Tokenizer.fromString(text);
    } catch (cause) {
      throw new RkifError(
        "CHECKPOINT_INVALID",
        `${file}: not a tokenizer.json that Hugging Face tokenizers can read: ${messageOf(cause)}`,
        { cause },
      );
    }
    native.disableTruncation();
    native.disablePadding();
    return new Tokenizer(
      file,
      native,
      await templateOf(native),
      await readSpecialTokens(dirname(file), native),
      tokens && { tokens, fileDigest: sha256(text) },
    );
  }

  /** Ids of every text, in order. @throws {RkifError} ABORTED where `abort` stopped it. */
  async encode(
    texts: readonly string[],
    { specialTokens = true, abort }: EncodeOptions = {},
  ): Promise<Int32Array[]> {
    const characters = texts.reduce((total, { length }) => total + length, 0);
    if (!this.#cache || characters < fewCharacters) return this.#encode(texts, specialTokens, abort);
    const { tokens, fileDigest } = this.#cache;
    // The texts are all that templates and settings of formats come to.
    const key = createHash("sha256").update(JSON.stringify([libraryVersion, fileDigest, specialTokens]));
    for (const text of texts) key.update(`\n${text.length}\n`).update(text);
    return tokens.get(key.digest("hex"), () => this.#encode(texts, specialTokens, abort));
  }

  async #encode(
    texts: readonly string[],
    specialTokens: boolean,
    abort: Pick<AbortFlag, "aborted"> | undefined,
  ): Promise<Int32Array[]> {
    const ids: Int32Array[] = [];
    for (let start = 0; start < texts.length; start += textsPerCall) {
      if (abort?.aborted) throw new RkifError("ABORTED", `stopped after ${start} of ${texts.length} texts`);
      const part = texts.slice(start, start + textsPerCall);
      const encodings = await this.#native.encodeBatch(part, { addSpecialTokens: specialTokens });
      for (const encoding of encodings) ids.push(Int32Array.from(encoding.getIds()));
    }
    return ids;
  }

  /** The text of the ids. Ids outside the vocabulary, such as a padded embedding's spare rows, are left out. */
  async decode(ids: ArrayLike<number>, skipSpecialTokens = true): Promise<string> {
    return this.#native.decode(Array.from(ids), skipSpecialTokens);
  }

  /** {@link decode} of every sequence, in order. */
  async decodeBatch(batch: readonly ArrayLike<number>[], skipSpecialTokens = true): Promise<string[]> {
    return this.#native.decodeBatch(
      batch.map((ids) => Array.from(ids)),
      skipSpecialTokens,
    );
  }

  /** Id of a token given by its exact text, such as `</s>`; undefined where the vocabulary lacks it. */
  idOf(token: string): number | undefined {
    return this.#native.tokenToId(token) ?? undefined;
  }

  /**
   * Id of the token with a role.
   * @throws {RkifError} CHECKPOINT_INVALID where no file beside the tokenizer names one.
   */
  specialId(role: SpecialRole): number {
    const token = this.special[role];
    const id = token === undefined ? undefined : this.idOf(token);
    if (id === undefined) {
      throw new RkifError(
        "CHECKPOINT_INVALID",
        `${this.file}: no ${role} token is known; expected "${role}_token" in tokenizer_config.json beside it`,
      );
    }
    return id;
  }
}

/** What the template adds around a text: a probe's leading and trailing tokens that the text did not give. */
async function templateOf(native: tokenizers.Tokenizer): Promise<{ prefix: number[]; suffix: number[] }> {
  const encoding = await native.encode("a", null, { addSpecialTokens: true });
  const ids = encoding.getIds();
  const added = encoding.getSpecialTokensMask();
  const first = added.indexOf(0);
  const last = added.lastIndexOf(0);
  return first === -1
    ? { prefix: [], suffix: ids }
    : { prefix: ids.slice(0, first), suffix: ids.slice(last + 1) };
}

async function readSpecialTokens(
  folder: string,
  native: tokenizers.Tokenizer,
): Promise<Partial<Record<SpecialRole, string>>> {
  const special: Partial<Record<SpecialRole, string>> = {};
  for (const name of ["tokenizer_config.json", "special_tokens_map.json"]) {
    const file = join(folder, name);
    const text = await readText(file);
    if (text === undefined) continue;
    const settings = parseObject(file, text);
    for (const role of roles) {
      const entry = settings[`${role}_token`];
      if (special[role] !== undefined || entry === undefined || entry === null) continue;
      // Older files spell a token as an object with its stripping rules.
      const token = typeof entry === "object" ? (entry as { content?: unknown }).content : entry;
      if (typeof token === "string" && native.tokenToId(token) === null && !needed.has(role)) continue;
      if (typeof token !== "string" || native.tokenToId(token) === null) {
        throw new RkifError(
          "CHECKPOINT_INVALID",
          `${file}: "${role}_token" is ${JSON.stringify(entry)}, which is no token of tokenizer.json beside it`,
        );
      }
      special[role] = token;
    }
  }
  return special;
}

function parseObject(file: string, text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new RkifError("CHECKPOINT_INVALID", `${file}: not JSON: ${messageOf(cause)}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new RkifError("CHECKPOINT_INVALID", `${file}: expected a JSON object`);
  }
  return value as Record<string, unknown>;
}

/** Undefined where there is no such file. */
async function readText(file: string): Promise<string | undefined> {
  let bytes: Uint8Array;
  try {
    const found = await stat(file);
    if (!found.isFile()) throw new Error("it is not a regular file");
    bytes = await readFile(file);
  } catch (cause) {
    if ((cause as { code?: unknown }).code === "ENOENT") return undefined;
    throw new RkifError("CHECKPOINT_INVALID", `${file}: cannot be read: ${messageOf(cause)}`, { cause });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new RkifError("CHECKPOINT_INVALID", `${file}: not UTF-8 text; expected JSON`, { cause });
  }
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
