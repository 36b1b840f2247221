import type { Tokenizer } from "../../../lib/models/tokenizer.js";

/**
 * A tokenizer that shows how SentencePiece's go: a space is put before the text, the longest pieces win, and a word with its space is
 * another token than without. Every character is a token of its own beside the pieces.
 */
export class LetterTokenizer implements Pick<
  Tokenizer,
  "encode" | "decode" | "decodeBatch" | "prefix" | "suffix" | "special" | "file"
> {
  readonly file = "letters/tokenizer.json";
  readonly special = { bos: "<s>", eos: "</s>" };
  readonly prefix: readonly number[];
  readonly suffix: readonly number[] = [];
  readonly #pieces: string[];

  constructor(pieces: readonly string[] = [], prefix: readonly number[] = [1]) {
    this.prefix = prefix;
    this.#pieces = ["<unk>", "<s>", "</s>", "<turn>", ...pieces];
  }

  get end(): number {
    return 2;
  }

  id(piece: string): number {
    const found = this.#pieces.indexOf(piece);
    return found === -1 ? 1000 + piece.charCodeAt(0) : found;
  }

  ids(...pieces: string[]): number[] {
    return pieces.map((piece) => this.id(piece));
  }

  encode(texts: readonly string[]): Promise<Int32Array[]> {
    return Promise.resolve(texts.map((text) => Int32Array.from(this.#code(` ${text}`))));
  }

  decode(ids: ArrayLike<number>, skipSpecialTokens: boolean = true): Promise<string> {
    const pieces = Array.from(ids, (id) => this.#pieces[id] ?? String.fromCharCode(id - 1000));
    const kept = pieces.filter((piece) => !(skipSpecialTokens && piece.startsWith("<")));
    return Promise.resolve(kept.join("").replace(/^ /, ""));
  }

  decodeBatch(batch: readonly ArrayLike<number>[]): Promise<string[]> {
    return Promise.all(batch.map((ids) => this.decode(ids)));
  }

  *#code(text: string): Generator<number> {
    for (let at = text.startsWith(" <") ? 1 : 0; at < text.length;) {
      const fitting = this.#pieces.filter((piece) => text.startsWith(piece, at));
      const piece = fitting.reduce((a, b) => (b.length > a.length ? b : a), text[at]!);
      yield this.id(piece);
      at += piece.length;
    }
  }
}
