/**
 * Randomness as a function: every draw depends on nothing but its arguments, so a saved run holds counters instead of
 * generator states. 32-bit integer arithmetic only, so the same numbers come out on every machine.
 */

/** First counter of every draw, so that draws made for different ends are independent under one seed. */
export const Stream = { order: 1, memory: 2, memoryBatch: 3, lengthGroups: 4 } as const;

/**
 * MurmurHash3 (x86, 32 bits) of the counters as little-endian words. Counters are integers; their low 32 bits count.
 * A seed may be any safe integer: its high part is folded in so that seeds below 2^32 give the published hash.
 */
export function hash(seed: number, ...counters: readonly number[]): number {
  let h = (seed ^ finalise(Math.floor(seed / 2 ** 32))) | 0;
  for (const counter of counters) {
    let k = Math.imul(counter, 0xcc9e2d51);
    k = (k << 15) | (k >>> 17);
    h ^= Math.imul(k, 0x1b873593);
    h = (h << 13) | (h >>> 19);
    h = (Math.imul(h, 5) + 0xe6546b64) | 0;
  }
  return finalise(h ^ (4 * counters.length));
}

function finalise(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A number in [0, 1), a multiple of 2^-32. */
export function uniform(seed: number, ...counters: readonly number[]): number {
  return hash(seed, ...counters) / 2 ** 32;
}

/** All of 0..n-1 in random order: Fisher-Yates, its i-th draw being `hash(key, i)`. Bias of a draw: below n / 2^32. */
export function permutation(n: number, key: number): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) swap(order, i, Math.floor(uniform(key, i) * (i + 1)));
  return order;
}

/** `min(k, n)` distinct numbers of 0..n-1 in random order: the first k draws of a Fisher-Yates run from the front. */
export function sampleDistinct(n: number, k: number, key: number): number[] {
  // Only the moved places are kept, so a small sample of a large memory costs O(k).
  const moved = new Map<number, number>();
  const sample: number[] = [];
  for (let i = 0; i < Math.min(k, n); i++) {
    const j = i + Math.floor(uniform(key, i) * (n - i));
    sample.push(moved.get(j) ?? j);
    moved.set(j, moved.get(i) ?? i);
  }
  return sample;
}

function swap(values: Int32Array, i: number, j: number): void {
  const kept = values[i]!;
  values[i] = values[j]!;
  values[j] = kept;
}
