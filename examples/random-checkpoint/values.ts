import { hash } from "../../lib/data/random.js";
import type { TensorSpec } from "./tensors.js";

export type StoredType = "F32" | "BF16";
export const bytesPer: Record<StoredType, number> = { F32: 4, BF16: 2 };

/**
 * Values of a block. A prime: no row length divides it, so that a matrix longer than the block does not repeat its rows; each repeats
 * shifted.
 */
const blockLength = 4_194_301;

/**
 * Random values at the speed of copying memory. There is one block of random numbers for each standard deviation (a checkpoint has
 * about five), and a tensor is that block from a place of its own onward, round and round.
 *
 * Given up: large tensors consist of the same four million numbers in different places, so that a value says something about others far
 * away, and the numbers are spread evenly, not normally. Neither changes what such checkpoints are for: time, memory, and
 * activations of the size that a trained model's have.
 */
export class RandomValues {
  readonly #type: StoredType;
  readonly #seed: number;
  readonly #blocks = new Map<number | null, Uint8Array>();

  constructor(type: StoredType, seed: number) {
    this.#type = type;
    this.#seed = seed;
  }

  /** The tensor's bytes in pieces that lie in shared blocks: to be written, not changed. */
  *pieces(tensor: TensorSpec, index: number): Generator<Uint8Array> {
    const block = this.#block(tensor.deviation);
    const size = bytesPer[this.#type];
    let left = size * elementsOf(tensor);
    let at = size * (hash(this.#seed, index) % blockLength);
    while (left > 0) {
      const piece = block.subarray(at, Math.min(at + left, block.length));
      yield piece;
      left -= piece.length;
      at = 0;
    }
  }

  #block(deviation: number | null): Uint8Array {
    let block = this.#blocks.get(deviation);
    if (block === undefined) {
      const floats = new Float32Array(blockLength);
      if (deviation === null) floats.fill(1);
      else fillEvenly(floats, deviation, hash(this.#seed, this.#blocks.size));
      const stored = this.#type === "F32" ? floats : toBfloat16(floats);
      block = new Uint8Array(stored.buffer);
      this.#blocks.set(deviation, block);
    }
    return block;
  }
}

export function elementsOf({ shape }: TensorSpec): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Evenly over [-a, a], whose standard deviation is a / sqrt(3). */
function fillEvenly(values: Float32Array, deviation: number, key: number): void {
  const bound = deviation * Math.sqrt(3);
  for (let i = 0; i < values.length; i++) values[i] = (hash(key, i) / 2 ** 31 - 1) * bound;
}

/** The upper halves of the floats: cut instead of rounded, which random values do not mind. */
function toBfloat16(values: Float32Array): Uint16Array {
  const halves = new Uint16Array(values.buffer);
  return Uint16Array.from({ length: values.length }, (_, i) => halves[2 * i + 1]!);
}
