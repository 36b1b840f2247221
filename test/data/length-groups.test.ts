import { expect } from "chai";
import { EpochBatches } from "../../lib/data/batches.js";
import type { LengthGroups } from "../../lib/data/length-groups.js";
import { uniform } from "../../lib/data/random.js";

const key = { seed: 1, task: 0, loop: 0 };
/** Lengths from 40 to 200, all different chances. */
const lengthsOf = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => 40 + Math.floor(160 * uniform(9, i)));
const batchesOf = (
  count: number,
  batchSize: number,
  epochs: number,
  groups: LengthGroups | null,
): number[][] => {
  const batches = new EpochBatches(count, batchSize, epochs, key, groups);
  return Array.from({ length: batches.steps }, (_, step) => batches.at(step));
};
const mean = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;

describe("batches of similar length", () => {
  it("give each record exactly once an epoch, and leave the epoch's last batch what is left over", () => {
    for (const [count, batchSize, window] of [
      [10, 3, 2],
      [97, 8, 4],
      [96, 8, 4],
      [5, 8, 2],
      [1, 1, 2],
      [1003, 8, 1000],
    ] as const) {
      const groups = { lengths: lengthsOf(count), window };
      const batches = batchesOf(count, batchSize, 3, groups);
      const perEpoch = Math.ceil(count / batchSize);
      for (let epoch = 0; epoch < 3; epoch++) {
        const own = batches.slice(epoch * perEpoch, (epoch + 1) * perEpoch);
        for (const batch of own.slice(0, -1)) expect(batch.length).to.equal(batchSize);
        expect(own.at(-1)!.length).to.equal(count - batchSize * (perEpoch - 1));
        expect(own.flat().sort((a, b) => a - b)).to.deep.equal(Array.from({ length: count }, (_, i) => i));
      }
    }
  });

  it("hold, window by window, the records of the same stretch of the shuffled order", () => {
    const [count, batchSize, window] = [205, 4, 10];
    const plain = batchesOf(count, batchSize, 2, null);
    const grouped = batchesOf(count, batchSize, 2, { lengths: lengthsOf(count), window });
    const perEpoch = Math.ceil(count / batchSize);
    for (let epoch = 0; epoch < 2; epoch++) {
      for (let first = 0; first < perEpoch; first += window) {
        const stretch = (all: number[][]): number[] => {
          const start = epoch * perEpoch;
          return all.slice(start + first, start + Math.min(first + window, perEpoch)).flat();
        };
        expect(stretch(grouped)).to.have.members(stretch(plain));
        expect(stretch(grouped)).not.to.deep.equal(stretch(plain));
      }
    }
  });

  it("have lengths close together, the closer the wider the window", () => {
    const lengths = lengthsOf(1000);
    const spread = (groups: LengthGroups | null): number =>
      mean(
        batchesOf(1000, 8, 1, groups).map((batch) => {
          const own = batch.map((i) => lengths[i]!);
          return Math.max(...own) - Math.min(...own);
        }),
      );
    const plain = spread(null); // 160 * 7/9 = 124
    expect(spread({ lengths, window: 5 })).to.be.below(plain / 4);
    expect(spread({ lengths, window: 50 })).to.be.below(plain / 30);
  });

  it("come in no order of length, and the short one has any", () => {
    const lengths = lengthsOf(101);
    const batches = batchesOf(101, 4, 200, { lengths, window: 26 });
    const meanLength = (batch: readonly number[]): number => mean(batch.map((i) => lengths[i]!));
    const at = (place: number): number[] => batches.filter((_, i) => i % 26 === place).map(meanLength);
    // All lengths' mean is 120; over 200 epochs a place's is within some 4 standard errors of it.
    for (const place of [0, 12, 24, 25]) {
      expect(mean(at(place)), `place ${place}`).to.be.within(105, 135);
      expect(Math.min(...at(place)), `place ${place}`).to.be.below(60);
      expect(Math.max(...at(place)), `place ${place}`).to.be.above(180);
    }
  });

  it("are a function of the step alone, and others in another epoch, seed, task and loop", () => {
    const groups = { lengths: lengthsOf(64), window: 4 };
    const forward = batchesOf(64, 4, 5, groups);
    const backward = new EpochBatches(64, 4, 5, key, groups);
    for (const step of [...forward.keys()].reverse()) expect(backward.at(step)).to.deep.equal(forward[step]);
    const others = [{ seed: 2 }, { task: 1 }, { loop: 1 }].map((changed) =>
      new EpochBatches(64, 4, 5, { ...key, ...changed }, groups).at(0),
    );
    const firsts = [forward[0]!, forward[16]!, ...others].map((batch) => batch.join());
    expect(new Set(firsts).size).to.equal(firsts.length);
  });

  it("refuse a window that is no number of batches", () => {
    for (const window of [0, 2.5, NaN]) {
      expect(() => new EpochBatches(8, 2, 1, key, { lengths: lengthsOf(8), window })).to.throw("window is");
    }
  });
});
