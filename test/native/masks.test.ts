import { expect } from "chai";
import type { FusionTable, Mask, SelectOptions } from "../../lib/native/contract.js";
import { addon, fp32, read, vector } from "./addon.js";

const { fround } = Math;

async function contents(mask: Mask): Promise<{ bits: number[]; count: number; thresholds: number[] }> {
  const [bits, count, thresholds] = await Promise.all([mask.read(), mask.count(), mask.thresholds()]);
  return { bits: Array.from(bits), count, thresholds: Array.from(thresholds) };
}

function select(scores: number[], options: Partial<SelectOptions>) {
  return contents(
    addon().select(vector(scores), { keepFraction: 0.5, by: "quantile", compare: ">=", ...options }),
  );
}

describe("masks", () => {
  it("hold the bits they were made of, copied at the call", async () => {
    const bits = Uint8Array.of(1, 0, 1);
    const mask = addon().createMask(bits);
    bits.fill(0);
    expect(await contents(mask)).to.deep.equal({ bits: [1, 0, 1], count: 2, thresholds: [] });
    expect(await contents(addon().createMask(new Uint8Array(0)))).to.deep.equal({
      bits: [],
      count: 0,
      thresholds: [],
    });
    expect(mask.length).to.equal(3);
  });

  it("by quantile: the threshold is interpolated, and `compare` says whether it belongs", async () => {
    // Rank 0.5 * 3 = 1.5 of the sorted 1 2 3 4.
    expect(await select([4, 1, 3, 2], {})).to.deep.equal({
      bits: [1, 0, 1, 0],
      count: 2,
      thresholds: [2.5],
    });
    // Rank 0.5 * 4 = 2 is an element itself.
    expect((await select([5, 1, 3, 2, 4], { compare: ">=" })).bits).to.deep.equal([1, 0, 1, 0, 1]);
    expect((await select([5, 1, 3, 2, 4], { compare: ">" })).bits).to.deep.equal([1, 0, 0, 0, 1]);
    // Equal scores all pass, or none does.
    expect((await select([2, 2, 2, 2], { compare: ">=", keepFraction: 0.25 })).count).to.equal(4);
    expect((await select([2, 2, 2, 2], { compare: ">", keepFraction: 0.25 })).count).to.equal(0);
  });

  it("by quantile: everything and the largest only", async () => {
    expect((await select([3, 1, 2], { keepFraction: 1 })).bits).to.deep.equal([1, 1, 1]);
    expect((await select([3, 1, 2], { keepFraction: 0 })).bits).to.deep.equal([1, 0, 0]);
    expect((await select([3, 1, 2], { keepFraction: 0, compare: ">" })).bits).to.deep.equal([0, 0, 0]);
  });

  it("by top-k: exactly round(keepFraction * n), equal scores by lower index", async () => {
    expect(await select([2, 9, 2, 2], { by: "top-k" })).to.deep.equal({
      bits: [1, 1, 0, 0],
      count: 2,
      thresholds: [2],
    });
    expect((await select([1, 2, 3], { by: "top-k", keepFraction: 0.5 })).count).to.equal(2);
    expect((await select([1, 2, 3], { by: "top-k", keepFraction: 1 })).count).to.equal(3);
    expect(await select([1, 2, 3], { by: "top-k", keepFraction: 0 })).to.deep.equal({
      bits: [0, 0, 0],
      count: 0,
      thresholds: [Infinity],
    });
  });

  it("segments have thresholds of their own; a NaN empties its segment alone", async () => {
    const scores = [1, 2, 10, NaN, 30, 5, 6];
    for (const by of ["quantile", "top-k"] as const) {
      const { bits, thresholds } = await select(scores, { by, segments: [2, 3, 2] });
      expect(bits).to.deep.equal([0, 1, 0, 0, 0, 0, 1]);
      expect(thresholds).to.deep.equal(by === "quantile" ? [1.5, NaN, 5.5] : [2, NaN, 6]);
    }
    expect(await select([1, NaN], {})).to.deep.equal({ bits: [0, 0], count: 0, thresholds: [NaN] });
  });

  it("select reads the scores before they change, though it only enqueues", async () => {
    const scores = vector([1, 2]);
    const mask = addon().select(scores, { keepFraction: 0.5, by: "quantile", compare: ">=" });
    scores.set(Float32Array.of(2, 1));
    scores.dispose();
    expect((await contents(mask)).bits).to.deep.equal([0, 1]);
  });
});

describe("fuse", () => {
  const start = fp32(1, 1, 1, 0.1);
  const tauIn = fp32(0.1, 0.2, 0.3, 0.4);
  const tauOut = fp32(10, 20, 30, 40);
  const table: FusionTable = { neither: [0, 0], onlyIn: [1, 0.5], onlyOut: [0.25, 1], both: [0.3, 0.7] };
  const pairs = [table.both, table.onlyIn, table.onlyOut, table.neither];
  const masks = () => ({
    in: addon().createMask(Uint8Array.of(1, 1, 0, 0)),
    out: addon().createMask(Uint8Array.of(1, 0, 1, 0)),
  });
  const fused = start.map((s, i) => {
    const [wIn, wOut] = pairs[i]!;
    return fround(s + fround(fround(fround(wIn) * tauIn[i]!) + fround(fround(wOut) * tauOut[i]!)));
  });
  const counts = { onlyIn: 1, onlyOut: 1, both: 1, neither: 1 };

  it("weights the task vectors by the table", async () => {
    const parameters = addon().createVector(4);
    const vectors = { parameters, start: vector(start), tauIn: vector(tauIn), tauOut: vector(tauOut) };
    expect(await addon().fuse(vectors, masks(), table)).to.deep.equal({ fused: true, ...counts });
    expect(await read(parameters)).to.deep.equal(fused);
  });

  it("may write over its start", async () => {
    const parameters = vector(start);
    const vectors = { parameters, start: parameters, tauIn: vector(tauIn), tauOut: vector(tauOut) };
    await addon().fuse(vectors, masks(), table);
    expect(await read(parameters)).to.deep.equal(fused);
  });

  it("goes back to the start where a threshold is NaN", async () => {
    const nan = addon().select(vector([1, 2, NaN, 3]), { keepFraction: 1, by: "quantile", compare: ">=" });
    for (const which of ["in", "out"] as const) {
      const parameters = addon().createVector(4);
      const vectors = { parameters, start: vector(start), tauIn: vector(tauIn), tauOut: vector(tauOut) };
      const report = await addon().fuse(vectors, { ...masks(), [which]: nan }, table);
      expect(report).to.deep.equal({ fused: false, onlyIn: 0, onlyOut: 0, both: 0, neither: 0 });
      expect(await read(parameters)).to.deep.equal(start);
    }
  });

  it("adaptive: softmax of the min-max normalised scores", async () => {
    const parameters = addon().createVector(3);
    const given = { start: vector([1, 1, 1]), tauIn: vector([1, 1, 1]), tauOut: vector([-1, -1, -1]) };
    const weights = { in: addon().createVector(3), out: addon().createVector(3) };
    // Normalised: in 0, 0.5, 1; out 1, 0, 0.
    const scores = { in: vector([2, 4, 6]), out: vector([9, 5, 5]) };
    const report = await addon().fuseAdaptive({ parameters, ...given }, scores, 0.5, weights);
    expect(report).to.deep.equal({ fused: true });
    const expected = [-1, 0.5, 1].map((ahead) => 1 / (1 + Math.exp(-ahead / 0.5)));
    const [wIn, wOut] = [await read(weights.in), await read(weights.out)];
    expected.forEach((w, i) => {
      expect(wIn[i]).to.be.closeTo(w, 6e-8);
      expect(wOut[i]).to.be.closeTo(1 - w, 6e-8);
    });
    const sums = wIn.map((w, i) => fround(1 + fround(w - wOut[i]!)));
    expect(await read(parameters)).to.deep.equal(sums);
    // The weights are optional.
    parameters.fill(0);
    await addon().fuseAdaptive({ parameters, ...given }, scores, 0.5);
    expect(await read(parameters)).to.deep.equal(sums);
  });

  it("adaptive: goes back to the start where scores are not finite or all equal", async () => {
    for (const bad of [
      [1, NaN],
      [1, Infinity],
      [1, 1],
    ]) {
      const parameters = addon().createVector(2);
      const vectors = { parameters, start: vector([5, 6]), tauIn: vector([1, 1]), tauOut: vector([1, 1]) };
      const scores = { in: vector([1, 2]), out: vector(bad) };
      expect(await addon().fuseAdaptive(vectors, scores, 1)).to.deep.equal({ fused: false });
      expect(await read(parameters)).to.deep.equal([5, 6]);
    }
  });
});
