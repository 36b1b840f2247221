import { expect } from "chai";
import { addon, fp32, read, vector } from "./addon.js";

const { fround } = Math;

/** Values whose sums and products are not exact, so that a wrong order of roundings shows. */
const a = fp32(0.1, -0.2, 3.3e7, 1e-20, -7.7, 0);
const b = fp32(0.7, 1e8, -0.3, 1e-20, 7.7, -0);

describe("vectors", () => {
  it("start as zeros, of any length", async () => {
    expect(await read(addon().createVector(3))).to.deep.equal([0, 0, 0]);
    const empty = addon().createVector(0);
    expect(await read(empty)).to.deep.equal([]);
    expect(await empty.norm()).to.deep.equal({ norm: 0, nonFinite: 0 });
  });

  it("set copies at the call, from the offset on", async () => {
    const v = addon().createVector(5);
    const values = Float32Array.of(1, 2);
    v.set(values, 3);
    values.fill(9);
    v.set(Float32Array.of(7));
    v.set(new Float32Array(0), 5);
    // A view into a larger buffer is its own part only.
    v.set(Float32Array.of(5, 6, 7).subarray(1, 2), 1);
    expect(await read(v)).to.deep.equal([7, 6, 0, 1, 2]);
  });

  it("read gives a range", async () => {
    const v = vector([0, 1, 2, 3, 4]);
    expect(Array.from(await v.read(1, 3))).to.deep.equal([1, 2, 3]);
    expect(Array.from(await v.read(3))).to.deep.equal([3, 4]);
    expect(Array.from(await v.read(5))).to.deep.equal([]);
    expect(Array.from(await v.read(2, 0))).to.deep.equal([]);
    const copy = await v.read();
    v.fill(9);
    await v.norm();
    expect(copy[4]).to.equal(4);
  });

  it("fill, copy and copyFrom", async () => {
    const v = addon().createVector(3);
    v.fill(0.1);
    const copy = v.copy();
    v.fill(2);
    expect(await read(copy)).to.deep.equal(fp32(0.1, 0.1, 0.1));
    copy.copyFrom(v);
    expect(await read(copy)).to.deep.equal([2, 2, 2]);
    copy.copyFrom(copy);
    expect(await read(copy)).to.deep.equal([2, 2, 2]);
  });

  it("setDifference and minus round once", async () => {
    const difference = a.map((x, i) => fround(x - b[i]!));
    const [va, vb, result] = [vector(a), vector(b), addon().createVector(a.length)];
    result.setDifference(va, vb);
    expect(await read(result)).to.deep.equal(difference);
    expect(await read(va.minus(vb))).to.deep.equal(difference);
    expect(await read(va)).to.deep.equal(a);
    va.setDifference(va, vb);
    expect(await read(va)).to.deep.equal(difference);
    vb.setDifference(vector(a), vb);
    expect(await read(vb)).to.deep.equal(difference);
    vb.setDifference(vb, vb);
    expect(await read(vb)).to.deep.equal(a.map(() => 0));
  });

  it("addScaled rounds the factor, the product and the sum, and may add a vector to itself", async () => {
    const v = vector(a);
    v.addScaled(vector(b), 0.3);
    expect(await read(v)).to.deep.equal(a.map((x, i) => fround(x + fround(fround(0.3) * b[i]!))));
    const twice = vector([1, 2, 4]);
    twice.addScaled(twice, 2);
    expect(await read(twice)).to.deep.equal([3, 6, 12]);
  });

  it("addProduct rounds the factor, both products and the sum, and may read the vector itself", async () => {
    const v = vector([0.3, 1, -2, 3, 0.1, 1e-30]);
    const before = await read(v);
    v.addProduct(vector(a), vector(b), 0.3);
    const product = a.map((x, i) => fround(fround(fround(0.3) * x) * b[i]!));
    expect(await read(v)).to.deep.equal(before.map((x, i) => fround(x + product[i]!)));
    const self = vector([1, 2, 4]);
    self.addProduct(self, self, 0.5);
    expect(await read(self)).to.deep.equal([1.5, 4, 12]);
  });

  it("scale", async () => {
    const v = vector(a);
    v.scale(-0.7);
    expect(await read(v)).to.deep.equal(a.map((x) => fround(x * fround(-0.7))));
  });

  it("norm is taken in double precision and leaves out what is not finite", async () => {
    // 3e38 squared is beyond fp32, and 1e-3 would be lost beside it in an fp32 sum.
    expect((await vector([3, 4]).norm()).norm).to.equal(5);
    expect((await vector([3e38, 1]).norm()).norm).to.equal(fround(3e38));
    expect(await vector([3, NaN, Infinity, -Infinity, 4]).norm()).to.deep.equal({ norm: 5, nonFinite: 3 });
    expect(await vector([NaN]).norm()).to.deep.equal({ norm: 0, nonFinite: 1 });
    const many = addon().createVector(100_003);
    many.fill(0.1);
    const { norm } = await many.norm();
    expect(norm).to.be.closeTo(fround(0.1) * Math.sqrt(100_003), 1e-9);
  });

  it("quantiles interpolate as torch.quantile", async () => {
    const values = vector([4, 1, 3, 2]);
    // Rank q * 3: 0, 0.75, 1.5, 3.
    expect(Array.from(await addon().quantiles(values, [0, 0.25, 0.5, 1]))).to.deep.equal([1, 1.75, 2.5, 4]);
    expect(Array.from(await addon().quantiles(values, []))).to.deep.equal([]);
    expect(Array.from(await addon().quantiles(vector([1, NaN]), [0.5]))).to.deep.equal([NaN]);
  });

  it("score is importance times uncertainty", async () => {
    const result = addon().score({ importance: vector(a), uncertainty: vector(b) });
    expect(await read(result)).to.deep.equal(a.map((x, i) => fround(x * b[i]!)));
  });

  it("results do not depend on the number of threads", async () => {
    const n = 300_000;
    const threads = await addon().getThreads();
    const x = Float32Array.from({ length: n }, (_, i) => Math.sin(i));
    const results = [];
    for (const count of [1, 2]) {
      addon().setThreads(count);
      expect(await addon().getThreads()).to.equal(count);
      const v = vector(x);
      v.addScaled(vector(x), 0.3);
      const [norm, quantiles, values] = await Promise.all([
        v.norm(),
        addon().quantiles(v, [0.1, 0.9]),
        v.read(),
      ]);
      results.push({ norm, quantiles: Array.from(quantiles), last: values[n - 1] });
      expect(values[n - 1]).to.equal(fround(x[n - 1]! + fround(fround(0.3) * x[n - 1]!)));
    }
    addon().setThreads(threads);
    expect(results[1]).to.deep.equal(results[0]);
  });
});
