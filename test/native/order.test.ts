/** Work runs in the order of the calls, and the error of enqueued work reaches the next promise. */
import { expect } from "chai";
import type { Model } from "../../lib/native/contract.js";
import { addon, batch, loadSmallModel, read, rejected, vector } from "./addon.js";

/** More bytes than an address space has: its allocation fails on the compute thread, whatever the machine. */
const tooMany = 2 ** 46;

describe("order of work", () => {
  it("a read sees all that was enqueued before it and nothing after", async () => {
    const v = vector([0]);
    const one = vector([1]);
    const reads = [];
    for (let i = 0; i < 500; ++i) {
      v.addScaled(one, 1);
      reads.push(v.read());
    }
    const values = await Promise.all(reads);
    expect(values.map((value) => value[0])).to.deep.equal(values.map((_, i) => i + 1));
  });

  it("promises settle in the order of the calls, whatever their kind", async () => {
    const order: string[] = [];
    const v = vector(Array.from({ length: 100_000 }, (_, i) => i));
    const note = (name: string) => () => order.push(name);
    await Promise.all([
      addon().quantiles(v, [0.5]).then(note("quantiles")),
      v.read(0, 1).then(note("read")),
      addon().getThreads().then(note("threads")),
      v.norm().then(note("norm")),
    ]);
    expect(order).to.deep.equal(["quantiles", "read", "threads", "norm"]);
  });

  it("dispose lets the enqueued work finish", async () => {
    const v = vector([1, 2]);
    const copy = v.copy();
    copy.scale(3);
    const values = copy.read();
    const sum = v.copy();
    sum.addScaled(copy, 1);
    copy.dispose();
    v.dispose();
    expect(Array.from(await values)).to.deep.equal([3, 6]);
    expect(await read(sum)).to.deep.equal([4, 8]);
  });

  it("does not block the event loop", async () => {
    const v = addon().createVector(4_000_000);
    let settled = false;
    let turns = 0;
    const work = Promise.all(Array.from({ length: 20 }, () => v.norm())).then(() => (settled = true));
    while (!settled) {
      await new Promise((resolve) => setImmediate(resolve));
      ++turns;
    }
    await work;
    expect(turns).to.be.greaterThan(20);
  });
});

describe("errors of enqueued work", () => {
  it("out of memory rejects the next promise, once, and later work goes on", async () => {
    const v = vector([1, 2, 3]);
    const huge = addon().createVector(tooMany);
    expect(huge.length).to.equal(tooMany);
    v.scale(2);
    await rejected(v.read(), "OUT_OF_MEMORY", String(tooMany * 4));
    expect(await read(v)).to.deep.equal([2, 4, 6]);
    // What has no memory stays an error of its own.
    await rejected(huge.norm(), "NATIVE");
    await rejected(huge.read(0, 1), "NATIVE");
    huge.fill(1);
    await rejected(v.read(), "NATIVE");
    huge.dispose();
    expect(await read(v)).to.deep.equal([2, 4, 6]);
  });

  it("the first of several errors is the one reported", async () => {
    addon().createVector(tooMany).fill(1);
    await rejected(addon().getThreads(), "OUT_OF_MEMORY");
    expect(await addon().getThreads()).to.be.at.least(1);
  });

  describe("of a model", () => {
    let model: Model;
    const options = { divisor: 1, lossScale: 1, dropout: null };
    before(async () => {
      model = await loadSmallModel();
    });
    after(() => model.dispose());

    it("merging twice, unmerging what is not merged", async () => {
      model.mergeAdapter();
      model.mergeAdapter();
      await rejected(model.loss(batch), "INVALID_ARGUMENT", "merged");
      model.unmergeAdapter();
      await model.loss(batch);
      model.unmergeAdapter();
      await rejected(model.loss(batch), "INVALID_ARGUMENT", "merged");
      await model.loss(batch);
    });

    it("training while merged", async () => {
      model.mergeAdapter();
      await rejected(model.accumulate(batch, options), "INVALID_ARGUMENT", "merged");
      model.unmergeAdapter();
      expect((await model.accumulate(batch, options)).labelTokens).to.equal(4);
    });
  });
});
