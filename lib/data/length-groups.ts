import { hash, permutation } from "./random.js";

/** What groups records of similar length. */
export interface LengthGroups {
  /** Length of every record, in any unit. */
  lengths: ArrayLike<number>;
  /** Batches that are formed of one stretch of the shuffled order: more give more similar lengths and less chance. */
  window: number;
}

/**
 * The order of an epoch with batches of similar length: every `window` batches of the shuffled order are sorted by length, cut into
 * batches anew, and those shuffled, so that lengths do not rise with the steps. The epoch's last batch takes what is left over; which
 * of its window's lengths that is, is drawn too.
 * @param order - the shuffled records
 * @param key - what the draws are a function of
 */
export function groupByLength(
  order: Int32Array,
  { lengths, window }: LengthGroups,
  { batchSize, key }: { batchSize: number; key: number },
): Int32Array {
  const grouped = new Int32Array(order.length);
  const stretch = window * batchSize;
  for (let start = 0; start < order.length; start += stretch) {
    // The sort is stable: equal lengths stay as they were shuffled.
    const sorted = order.slice(start, start + stretch).sort((a, b) => lengths[a]! - lengths[b]!);
    const ranks = permutation(Math.ceil(sorted.length / batchSize), hash(key, start));
    const missing = ranks.length * batchSize - sorted.length;
    const short = ranks.at(-1)!;
    let at = start;
    for (const rank of ranks) {
      const first = rank * batchSize - (rank > short ? missing : 0);
      const batch = sorted.subarray(first, first + batchSize - (rank === short ? missing : 0));
      grouped.set(batch, at);
      at += batch.length;
    }
  }
  return grouped;
}
