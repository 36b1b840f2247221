import type { Tokenizer } from "../models/tokenizer.js";

/** What a decoder writes where the bytes of a character are not all there yet. */
const incomplete = "\ufffd";

/**
 * The text of a growing sequence of tokens, piece by piece. A token's text depends on its neighbours (the space before a word, characters
 * of several tokens), so every piece is what the last tokens decode to beyond what those already told decode to.
 */
export class TextStream {
  readonly #tokenizer: Pick<Tokenizer, "decode">;
  readonly #ids: number[] = [];
  /** Tokens from `#from` on are decoded again for the sake of the next; those before `#told` have been told. */
  #from = 0;
  #told = 0;

  constructor(tokenizer: Pick<Tokenizer, "decode">) {
    this.#tokenizer = tokenizer;
  }

  /** The text that a further token completes; empty while a character is incomplete. One call at a time. */
  async push(token: number): Promise<string> {
    this.#ids.push(token);
    return this.#next(false);
  }

  /** What is left at the end, incomplete characters included. */
  async end(): Promise<string> {
    return this.#next(true);
  }

  async #next(isEnd: boolean): Promise<string> {
    const known = await this.#tokenizer.decode(this.#ids.slice(this.#from, this.#told));
    const text = await this.#tokenizer.decode(this.#ids.slice(this.#from));
    if (text.length <= known.length || (text.endsWith(incomplete) && !isEnd)) return "";
    this.#from = this.#told;
    this.#told = this.#ids.length;
    return text.slice(known.length);
  }
}
