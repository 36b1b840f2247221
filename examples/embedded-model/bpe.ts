/** Byte-pair encoding, learnt from word counts. */

/** The 256 printable characters that a byte-level BPE writes for the bytes 0..255, as GPT-2's tokenizer defined them. */
export function byteAlphabet(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}

/**
 * The pieces that the `ByteLevel` pre-tokenizer cuts a text into, with its prefix space: runs of letters, of digits or of other
 * signs, each with one space in front.
 */
export function pieces(text: string): string[] {
  const prefixed = text.startsWith(" ") ? text : ` ${text}`;
  return prefixed.match(/'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu) ?? [];
}

/**
 * Learns at most `count` merges: each time the most frequent pair of neighbours, of equally frequent ones the first in code
 * unit order. Ends early when no pair occurs `minimum` times.
 *
 * @param counts - How often each piece occurs.
 */
export function learnMerges(
  counts: ReadonlyMap<string, number>,
  count: number,
  minimum = 2,
): [string, string][] {
  const alphabet = byteAlphabet();
  const encoder = new TextEncoder();
  const words = [...counts].map(([piece, times]) => ({
    symbols: Array.from(encoder.encode(piece), (byte) => alphabet[byte] as string),
    times,
  }));
  const merges: [string, string][] = [];
  while (merges.length < count) {
    const pairs = new Map<string, number>();
    for (const { symbols, times } of words) {
      for (let at = 1; at < symbols.length; at++) {
        // A space never stands in the byte alphabet, so it can separate the two halves.
        const pair = `${symbols[at - 1]} ${symbols[at]}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + times);
      }
    }
    let best = "";
    let bestTimes = minimum - 1;
    for (const [pair, times] of pairs) {
      if (times > bestTimes || (times === bestTimes && best !== "" && pair < best)) {
        best = pair;
        bestTimes = times;
      }
    }
    if (best === "") {
      break;
    }
    const [left, right] = best.split(" ") as [string, string];
    merges.push([left, right]);
    for (const word of words) {
      word.symbols = mergePair(word.symbols, left, right);
    }
  }
  return merges;
}

function mergePair(symbols: string[], left: string, right: string): string[] {
  const merged: string[] = [];
  for (let at = 0; at < symbols.length; at++) {
    if (symbols[at] === left && symbols[at + 1] === right) {
      merged.push(left + right);
      at++;
    } else {
      merged.push(symbols[at] as string);
    }
  }
  return merged;
}
