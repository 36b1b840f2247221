import { expect } from "chai";
import { replay } from "../../lib/methods/replay.js";
import { sequential } from "../../lib/methods/sequential.js";
import { RecordedRun } from "./recorded-run.js";

const planned = { task: 20, withMemory: 24, memory: 8 };

describe("replay", () => {
  it("trains over task and memory for as long as their epochs last", async () => {
    const run = new RecordedRun(planned);
    await replay.learn(run, { stepRatio: null });
    expect(run.steps.map(({ batch }) => batch - 1000)).to.deep.equal([...Array(24).keys()]);
  });

  for (const [stepRatio, steps] of [
    [1, 20],
    [1.5, 30],
    [0.33, 7],
  ] as const) {
    it(`makes ${steps} steps where sequential training makes 20, by a ratio of ${stepRatio}`, async () => {
      const run = new RecordedRun(planned);
      await replay.learn(run, { stepRatio });
      expect(run.steps).to.have.length(steps);
      expect(run.steps.every(({ batch }) => batch >= 1000)).to.equal(true);
      // The rate reaches its end where the steps do.
      expect(run.steps.at(-1)!.learningRate).to.be.closeTo(0.01 / (steps - 4), 1e-15);
    });
  }

  it("trains the first task plainly, whatever the ratio", async () => {
    const run = new RecordedRun({ task: 20, withMemory: 20, memory: 0 });
    await replay.learn(run, { stepRatio: 1.5 });
    expect(run.steps).to.have.length(20);
  });
});

describe("sequential", () => {
  it("trains over the task's records alone, also where there is a memory", async () => {
    const run = new RecordedRun(planned);
    await sequential.learn(run, {});
    expect(run.steps.map(({ batch }) => batch)).to.deep.equal([...Array(20).keys()]);
  });

  it("goes on from the saved step", async () => {
    const run = new RecordedRun(planned);
    run.saved = { step: 17 };
    await sequential.learn(run, {});
    expect(run.steps.map(({ step }) => step)).to.deep.equal([17, 18, 19]);
  });
});
