import { hash, permutation } from "../data/random.js";

/**
 * Random draws as a function of a key: the same (seed, stream, index) gives the same sequence on every machine, whatever else was
 * drawn before.
 */
export class Draws {
  readonly #key: number;
  #drawn = 0;

  constructor(seed: number, stream: number, index: number) {
    this.#key = hash(seed, stream, index);
  }

  #next(): number {
    return hash(this.#key, this.#drawn++);
  }

  /** A whole number from 0 up to, not including, `count`; its bias is below count / 2^32. */
  below(count: number): number {
    return Math.floor((this.#next() / 2 ** 32) * count);
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.#next() < probability * 2 ** 32;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  /** A new array with the same elements in a random order. */
  shuffle<T>(values: readonly T[]): T[] {
    return Array.from(permutation(values.length, this.#next()), (from) => values[from] as T);
  }
}
