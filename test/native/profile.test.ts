import { expect } from "chai";
import { addon, batch, loadSmallModel, waitingOperators } from "./addon.js";

describe("profile", () => {
  it("names libtorch's operators and the addon's own loops, counts them, and ends", async () => {
    const model = await loadSmallModel();
    const accumulate = (): Promise<unknown> =>
      model.accumulate(batch, { divisor: 4, lossScale: 1, dropout: { seed: 1, task: 0, loop: 0, step: 0 } });
    await accumulate();
    const started = performance.now();
    addon().startProfile();
    await accumulate();
    const operators = await addon().endProfile();
    const elapsed = (performance.now() - started) / 1000;
    const callsOf = (name: string): number => operators.find((each) => each.name === name)?.calls ?? 0;
    // Two layers of an encoder with one attention each and of a decoder with two, forward and backward.
    expect(callsOf("rkif::attention")).to.equal(12);
    expect(callsOf("aten::mm")).to.be.above(12);
    expect(callsOf("rkif::norm")).to.be.above(10);
    expect(callsOf("rkif::adamw"), "no step was made").to.equal(0);
    const seconds = operators.map((each) => each.seconds);
    expect(seconds.every((each) => each >= 0)).to.equal(true);
    expect(seconds).to.deep.equal([...seconds].sort((a, b) => b - a));
    // Each operator's own time: together no more than there was.
    const sum = seconds.reduce((total, each) => total + each, 0);
    expect(sum).to.be.within(0, elapsed);
    await accumulate();
    expect(await addon().endProfile(), "none was begun").to.deep.equal([]);
    model.dispose();
  });

  it("counts the reads that wait for a GPU, and no others", async () => {
    const model = await loadSmallModel();
    const waits = async (work: () => unknown): Promise<number> => {
      addon().startProfile();
      await work();
      const operators = await addon().endProfile();
      // Reads that went another way.
      expect(operators.filter(({ name }) => waitingOperators.includes(name))).to.deep.equal([]);
      return operators.find(({ name }) => name === "rkif::wait")?.calls ?? 0;
    };
    const { parameters } = model;
    const start = parameters.copy();
    expect(await waits(() => start.minus(parameters).addScaled(start, 2))).to.equal(0);
    expect(await waits(() => start.norm())).to.equal(1);
    expect(await waits(() => start.read(0, 3))).to.equal(1);
    expect(await waits(() => addon().quantiles(start, [0.1, 0.5]))).to.equal(1);
    const options = { divisor: 4, lossScale: 1, dropout: { seed: 1, task: 0, loop: 0, step: 0 } };
    expect(await waits(() => model.accumulate(batch, options))).to.equal(1);
    const reports = addon().createStepReports(2, parameters);
    const into = { reports, index: 0 };
    expect(await waits(() => model.accumulate(batch, { ...options, into }))).to.equal(0);
    expect(await waits(() => reports.take(2))).to.equal(1);
    reports.dispose();
    start.dispose();
    model.dispose();
  });

  it("a second start drops what the first measured", async () => {
    const vectors = Array.from({ length: 4 }, () => addon().createVector(4));
    const [parameters, gradients, m, v] = vectors as [
      (typeof vectors)[0],
      (typeof vectors)[0],
      (typeof vectors)[0],
      (typeof vectors)[0],
    ];
    const step = (update: number): Promise<unknown> =>
      addon().adamwStep(
        { parameters, gradients, m, v },
        {
          ...{ learningRate: 0.1, update, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
          maxGradNorm: null,
        },
      );
    addon().startProfile();
    await step(1);
    addon().startProfile();
    await step(2);
    await step(3);
    const [first] = (await addon().endProfile()).filter(({ name }) => name === "rkif::adamw");
    expect(first!.calls).to.equal(2);
  });
});
