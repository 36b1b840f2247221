import { expect } from "chai";
import { hash, permutation, sampleDistinct, uniform } from "../../lib/data/random.js";

describe("counter-based randomness", () => {
  it("is MurmurHash3 (x86, 32 bits): the published vectors of whole words", () => {
    const vectors: [seed: number, words: number[], expected: number][] = [
      [0, [], 0],
      [1, [], 0x514e28b7],
      [0xffffffff, [], 0x81f16f39],
      [0, [0xffffffff], 0x76293b50],
      [0, [-1], 0x76293b50],
      [0, [0x87654321], 0xf55b516b],
      [0x5082edee, [0x87654321], 0x2362f9de],
      [0x9747b28c, [0x61616161], 0x5a97808a], // "aaaa"
      [0x9747b28c, [0x64636261], 0xf0478627], // "abcd"
    ];
    for (const [seed, words, expected] of vectors) {
      expect(hash(seed, ...words), `seed ${seed}, ${words.join()}`).to.equal(expected);
    }
  });

  it("tells seeds apart that differ above 32 bits only", () => {
    expect(hash(7 + 2 ** 32, 1)).not.to.equal(hash(7, 1));
  });

  it("spreads evenly: 16 cells of 1,600 consecutive counters each hold 100 ± 40", () => {
    const cells = new Array<number>(16).fill(0);
    for (let i = 0; i < 1600; i++) cells[Math.floor(16 * uniform(3, i))]!++;
    for (const count of cells) expect(count).to.be.within(60, 140);
  });

  it("permutes: every number once, another order for another key, each number at each place about equally often", () => {
    for (const n of [0, 1, 2, 17, 1000]) {
      expect([...permutation(n, 5)].sort((a, b) => a - b)).to.deep.equal(
        Array.from({ length: n }, (_, i) => i),
      );
    }
    expect([...permutation(50, 1)]).not.to.deep.equal([...permutation(50, 2)]);
    const first = [0, 0, 0, 0];
    for (let key = 0; key < 4000; key++) first[permutation(4, hash(9, key))[0]!]!++;
    for (const count of first) expect(count).to.be.within(870, 1130);
  });

  it("samples without replacement as the plain Fisher-Yates over a full array does", () => {
    for (const [n, k] of [
      [10, 3],
      [10, 10],
      [10, 25],
      [1000, 8],
      [1, 1],
      [5, 0],
    ] as const) {
      const all = Array.from({ length: n }, (_, i) => i);
      for (let i = 0; i < Math.min(k, n); i++) {
        const j = i + Math.floor(uniform(77, i) * (n - i));
        [all[i], all[j]] = [all[j]!, all[i]!];
      }
      const sample = sampleDistinct(n, k, 77);
      expect(sample).to.deep.equal(all.slice(0, k));
      expect(new Set(sample).size).to.equal(Math.min(k, n));
    }
  });
});
