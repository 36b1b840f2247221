import { expect } from "chai";
import { join } from "node:path";
import { ella } from "../../lib/methods/ella.js";
import { temporaryFolder, writeTinyCheckpoint } from "../training/tiny-run.js";
import { RecordedRun } from "./recorded-run.js";
import {
  combined,
  distance,
  learned,
  learnedSlowly,
  scale,
  times,
  timesTransposed,
  transposed,
  type Matrix,
  type Pair,
  type PenaltyGradient,
} from "./slow-adapters.js";

const scaled = (x: Matrix, factor: number): Matrix => x.map((row) => row.map((value) => factor * value));

/** With G = 2 lambda dW * W_past * W_past: scale * B^T G by A, scale * G A^T by B. */
function gradient(lambda: number): PenaltyGradient {
  return ({ a, b }: Pair, earlier: readonly Pair[]): Pair => {
    const own = scaled(times(b, a), scale);
    const past = earlier.reduce(
      (sum, pair) => combined(sum, times(pair.b, pair.a), (x, y) => x + scale * y),
      scaled(own, 0),
    );
    const outer = combined(own, past, (x, y) => 2 * lambda * x * y * y);
    return {
      a: scaled(times(transposed(b), outer), scale),
      b: scaled(timesTransposed(outer, a), scale),
    };
  };
}

describe("ella", function () {
  this.timeout(30_000);
  const folder = temporaryFolder();
  let model: string;
  before(async () => {
    model = await writeTinyCheckpoint(join(folder.path, "model"));
  });

  it("learns three tasks as the formulas say", async () => {
    const overlapWeight = 1e6;
    const found = await learned(model, 3, ella, { overlapWeight });
    const expected = await learnedSlowly(model, 3, gradient(overlapWeight));
    const without = await learnedSlowly(model, 3, gradient(0));
    found.forEach((values, task) => {
      expect(distance(values, expected[task]!), `task ${task}`).to.be.below(1e-3);
      const apart = distance(without[task]!, expected[task]!);
      if (task === 0) expect(apart).to.equal(0);
      else expect(apart, `penalty of task ${task}`).to.be.above(0.01);
    });
  });

  it("trains the first task plainly; then freezes the last task's adapter, once only", async () => {
    const planned = { task: 3, withMemory: 3, memory: 0 };
    const first = new RecordedRun(planned);
    Object.assign(first, { task: { index: 0, name: "first" } });
    await ella.learn(first, { overlapWeight: 7 });
    expect([first.frozenAdapters, first.penalties.length, first.steps.length]).to.deep.equal([0, 0, 3]);

    const second = new RecordedRun(planned);
    await ella.learn(second, { overlapWeight: 7 });
    expect(second.frozenAdapters).to.equal(1);
    expect(second.penalties).to.deep.equal([{ overlap: 7 }, { overlap: 7 }, { overlap: 7 }]);

    const interrupted = new RecordedRun(planned);
    interrupted.frozenAdapters = 1;
    interrupted.saved = { step: 2 };
    await ella.learn(interrupted, { overlapWeight: 7 });
    expect(interrupted.frozenAdapters).to.equal(1);
    expect(interrupted.steps.map(({ step }) => step)).to.deep.equal([2]);
  });
});
