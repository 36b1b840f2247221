/** What is released is given back: 2000 handles of a megabyte each never add up. */
import { expect } from "chai";
import { output } from "./child.js";

/** Megabytes that the process grew by while `round` ran 40 times, after 4 times that do not count. */
async function growth(round: string, flags: readonly string[] = []): Promise<number> {
  const stdout = await output(
    `
    const addon = open();
    const megabytes = () => process.memoryUsage.rss() / 2 ** 20;
    const round = async () => {${round}};
    for (let i = 0; i < 4; ++i) await round();
    const before = megabytes();
    for (let i = 0; i < 40; ++i) await round();
    console.log(megabytes() - before);
  `,
    flags,
  );
  return Number(stdout);
}

/** 50 megabytes a round: one round that leaked would show. */
const most = 40;
const floats = 2 ** 18;

describe("memory", () => {
  it("of disposed vectors", async () => {
    const grown = await growth(`
      for (let i = 0; i < 50; ++i) { const v = addon.createVector(${floats}); v.fill(i); v.dispose(); }
      await addon.getThreads();
    `);
    expect(grown).to.be.lessThan(most);
  });

  it("of disposed masks", async () => {
    const grown = await growth(`
      const bits = new Uint8Array(${4 * floats}).fill(1);
      for (let i = 0; i < 50; ++i) {
        const mask = addon.createMask(bits);
        const count = mask.count();
        mask.dispose();
        await count;
      }
    `);
    expect(grown).to.be.lessThan(most);
  });

  it("of vectors and masks left to the garbage collector", async () => {
    const grown = await growth(
      `
      for (let i = 0; i < 25; ++i) {
        const v = addon.createVector(${floats});
        addon.select(v, { keepFraction: 0.5, by: "quantile", compare: ">" });
        v.copy();
      }
      await addon.getThreads();
      gc();
      await pause(0);
      await addon.getThreads();
    `,
      ["--expose-gc"],
    );
    expect(grown).to.be.lessThan(most);
  });

  it("of models, disposed or left to the garbage collector", async () => {
    const grown = await growth(
      `
      for (let i = 0; i < 4; ++i) {
        const model = await addon.loadModel({ ...modelOptions, copyWeights: true });
        await model.accumulate(batch, { divisor: 1, lossScale: 1, dropout: null });
        if (i % 2) model.dispose();
      }
      gc();
      await pause(0);
      await addon.getThreads();
    `,
      ["--expose-gc"],
    );
    expect(grown).to.be.lessThan(most);
  });
});
