import { expect } from "chai";
import { EpochBatches, MemoryBatches } from "../../lib/data/batches.js";

const key = { seed: 1, task: 0, loop: 0 };

describe("EpochBatches", () => {
  it("gives each record exactly once an epoch, and keeps the last partial batch", () => {
    for (const [count, batchSize] of [
      [10, 3],
      [8, 8],
      [1, 8],
      [1000, 8],
      [7, 1],
    ] as const) {
      const batches = new EpochBatches(count, batchSize, 3, key);
      const perEpoch = Math.ceil(count / batchSize);
      expect(batches.steps).to.equal(3 * perEpoch);
      for (let epoch = 0; epoch < 3; epoch++) {
        const seen: number[] = [];
        for (let i = 0; i < perEpoch; i++) {
          const batch = batches.at(epoch * perEpoch + i);
          const isLast = i === perEpoch - 1;
          expect(batch.length).to.equal(isLast ? count - batchSize * (perEpoch - 1) : batchSize);
          seen.push(...batch);
        }
        expect(seen.sort((a, b) => a - b)).to.deep.equal(Array.from({ length: count }, (_, i) => i));
      }
    }
  });

  it("is a function of the step alone: steps in any order, in a new object, are the same", () => {
    const forward = new EpochBatches(21, 4, 5, key);
    const steps = Array.from({ length: forward.steps }, (_, i) => i);
    const expected = steps.map((step) => forward.at(step));
    const backward = new EpochBatches(21, 4, 5, key);
    for (const step of steps.toReversed()) expect(backward.at(step)).to.deep.equal(expected[step]);
  });

  it("shuffles anew by epoch, seed, task and loop", () => {
    const all = (changed: Partial<typeof key>, start = 0): number[] =>
      new EpochBatches(64, 64, 2, { ...key, ...changed }).at(start);
    const orders = [all({}), all({}, 1), all({ seed: 2 }), all({ task: 1 }), all({ loop: 1 })];
    expect(new Set(orders.map((order) => order.join())).size).to.equal(orders.length);
  });

  it("refuses steps outside and sizes that are no whole numbers", () => {
    const batches = new EpochBatches(10, 3, 1, key);
    expect(() => batches.at(4)).to.throw("step 4 is beyond the 4 steps");
    expect(() => batches.at(-1)).to.throw("step is -1");
    expect(() => new EpochBatches(0, 3, 1, key)).to.throw("record count is 0");
    expect(() => new EpochBatches(10, 2.5, 1, key)).to.throw("batch size is 2.5");
    expect(new EpochBatches(10, 3, 0, key).steps).to.equal(0);
  });
});

describe("MemoryBatches", () => {
  it("draws distinct records, fewer where the memory is smaller than the batch", () => {
    for (const [count, size] of [
      [60, 8],
      [8, 8],
      [3, 3],
    ] as const) {
      const batches = new MemoryBatches(count, 8, key);
      for (let step = 0; step < 50; step++) {
        const batch = batches.at(step);
        expect(new Set(batch).size).to.equal(size);
        expect(Math.max(...batch)).to.be.below(count);
      }
    }
  });

  it("reaches every record about equally often", () => {
    const counts = new Array<number>(20).fill(0);
    const batches = new MemoryBatches(20, 8, key);
    for (let step = 0; step < 1000; step++) for (const i of batches.at(step)) counts[i]!++;
    for (const count of counts) expect(count).to.be.within(320, 480);
  });

  it("draws a step the same whatever was drawn before", () => {
    const once = new MemoryBatches(50, 8, key).at(7);
    const batches = new MemoryBatches(50, 8, key);
    batches.at(0);
    expect(batches.at(7)).to.deep.equal(once);
    expect(new MemoryBatches(50, 8, { ...key, task: 3 }).at(7)).not.to.deep.equal(once);
  });
});
