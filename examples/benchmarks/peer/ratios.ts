/** Ratios of paired measurements. */

/** How many times longer the peer took, over the rounds of one run. */
export interface Ratio {
  median: number;
  min: number;
  max: number;
}

export function median(numbers: readonly number[]): number {
  if (numbers.length === 0) throw new Error("a median of no numbers");
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Of every round its own ratio: what slows the whole machine for a while slows both sides of a round. */
export function pairedRatio(peer: readonly number[], here: readonly number[]): Ratio {
  if (peer.length !== here.length) {
    throw new Error(`${peer.length} rounds of the peer and ${here.length} here; expected as many of both`);
  }
  const ratios = peer.map((value, round) => value / here[round]!);
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
}

/** |a - b| as a share of |b|. */
export function relativeDifference(a: number, b: number): number {
  return Math.abs(a - b) / Math.abs(b);
}
