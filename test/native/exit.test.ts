/** How a process ends that has the addon loaded: by itself, early, or in the middle of work. */
import { expect } from "chai";
import { output, run } from "./child.js";

/** Work that would take hours: no end token ever ends it, only the environment's end. */
const endless = `
  const generate = { inputIds: Int32Array.of(5, 1), inputLengths: Int32Array.of(2), endTokenIds: [] };
  const endless = (model) => model.generate({ ...generate, maxNewTokens: 1_000_000 });
`;

describe("exit", () => {
  it("the process ends by itself with handles alive and work enqueued", async () => {
    const stdout = await output(`
      const addon = open();
      const model = await addon.loadModel(modelOptions);
      const v = addon.createVector(1000);
      globalThis.kept = [model, v, v.copy(), addon.createMask(Uint8Array.of(1)), addon.createAbortFlag()];
      v.fill(1);
      model.mergeAdapter();
      console.log("end");
    `);
    expect(stdout).to.equal("end");
  });

  it("an open promise keeps the process alive until it settles", async () => {
    const stdout = await output(`
      const v = open().createVector(2_000_000);
      v.fill(2);
      for (let i = 0; i < 20; ++i) v.norm();
      v.norm().then(({ norm }) => console.log(norm.toFixed(3)));
    `);
    expect(stdout).to.equal((2 * Math.sqrt(2e6)).toFixed(3));
  });

  it("process.exit() in the middle of generation ends it at once", async () => {
    await output(
      `${endless}
      const model = await open().loadModel(modelOptions);
      endless(model);
      await pause(100);
      process.exit(7);`,
      [],
      7,
    );
  });

  it("process.exit() drops what is enqueued, from a callback of the addon as well", async () => {
    await output(
      `${endless}
      const addon = open();
      const model = await addon.loadModel(modelOptions);
      const v = addon.createVector(1_000_000);
      v.norm().then(() => process.exit(3));
      for (let i = 0; i < 1000; ++i) { v.read(); v.scale(2); }
      endless(model);`,
      [],
      3,
    );
  });

  it("an exception that nobody catches ends it with its own message", async () => {
    const { code, signal, stderr } = await run(`${endless}
      const model = await open().loadModel(modelOptions);
      endless(model);
      setTimeout(() => { throw new Error("thrown on purpose"); }, 20);
    `);
    expect({ code, signal }).to.deep.equal({ code: 1, signal: null });
    expect(stderr).to.contain("thrown on purpose");
  });

  it("a rejection that nobody handles shows its code", async () => {
    const { code, signal, stderr } = await run(`
      const addon = open();
      addon.createVector(2 ** 46);
      addon.getThreads();
    `);
    expect({ code, signal }).to.deep.equal({ code: 1, signal: null });
    expect(stderr).to.contain("OUT_OF_MEMORY");
  });
});
