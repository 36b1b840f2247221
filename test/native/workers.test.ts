/** Worker threads share the one compute thread; each has its own handles, errors and end. */
import { expect } from "chai";
import { output } from "./child.js";

/** Doubles a vector of ones ten times, awaiting each, and posts the last value. */
const doubling = `
  const addon = open();
  const v = addon.createVector(50_000);
  v.fill(1);
  let last;
  for (let i = 0; i < 10; ++i) { v.scale(2); last = (await v.read())[49_999]; }
  parentPort.postMessage(last);
`;

/** Keeps every kind of work under way for ever. */
const busy = `
  const addon = open();
  const model = await addon.loadModel(modelOptions);
  const v = addon.createVector(200_000);
  parentPort.postMessage("ready");
  for (;;) {
    v.addScaled(v.copy(), 0.5);
    await Promise.all([
      v.read(),
      v.norm(),
      model.accumulate(batch, { divisor: 1, lossScale: 1, dropout: null }),
      model.logits(batch),
    ]);
  }
`;

describe("worker threads", () => {
  it("work beside the main thread, each on its own vectors", async () => {
    const stdout = await output(`
      const addon = open();
      const v = addon.createVector(3);
      const threads = [1, 2, 3].map(() => worker(${JSON.stringify(doubling)}));
      const results = Promise.all(threads.map(message)), ends = Promise.all(threads.map(ended));
      for (let i = 0; i < 200; ++i) { v.fill(i); if ((await v.read())[0] !== i) throw new Error("wrong: " + i); }
      console.log(JSON.stringify(await results), JSON.stringify(await ends));
    `);
    expect(stdout).to.equal("[1024,1024,1024] [0,0,0]");
  });

  it("come and go while the main thread never loads the addon", async () => {
    // The compute thread ends with its last owner; overlapping ends and starts are where a restart could be lost.
    const stdout = await output(`
      const results = [];
      for (let i = 0; i < 8; ++i) {
        const threads = [worker(${JSON.stringify(doubling)}), worker(${JSON.stringify(doubling)})];
        const first = message(threads[0]), second = message(threads[1]);
        results.push(await first);
        threads[0].terminate();
        results.push(await second);
      }
      console.log(results.every((result) => result === 1024), results.length);
    `);
    expect(stdout).to.equal("true 16");
  });

  it("can be terminated in the middle of work; the others go on", async () => {
    const stdout = await output(`
      const addon = open();
      const v = addon.createVector(1000);
      for (let i = 0; i < 12; ++i) {
        const thread = worker(${JSON.stringify(busy)});
        await message(thread);
        await pause(i * 3);
        const end = thread.terminate();
        v.fill(i);
        const [value] = await v.read();
        await end;
        if (value !== i) throw new Error("wrong: " + value);
      }
      console.log("done");
    `);
    expect(stdout).to.equal("done");
  });

  it("an error of enqueued work stays in its thread", async () => {
    const stdout = await output(`
      const addon = open();
      const thread = worker(\`
        const addon = open();
        addon.createVector(2 ** 46);
        parentPort.postMessage("failed");
        await new Promise((resolve) => parentPort.once("message", resolve));
        parentPort.postMessage(await addon.getThreads().catch((error) => error.code));
      \`);
      await message(thread);
      const own = await addon.createVector(1).read();
      const theirs = message(thread);
      thread.postMessage("go on");
      console.log(own[0], await theirs);
      await thread.terminate();
    `);
    expect(stdout).to.equal("0 OUT_OF_MEMORY");
  });

  it("end with the process, whatever they are doing", async () => {
    await output(
      `
      open();
      const threads = [worker(${JSON.stringify(busy)}), worker(${JSON.stringify(busy)})];
      await Promise.all(threads.map(message));
      await pause(30);
      process.exit(5);
    `,
      [],
      5,
    );
  });
});
