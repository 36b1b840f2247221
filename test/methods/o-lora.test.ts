import { expect } from "chai";
import { join } from "node:path";
import { oLora } from "../../lib/methods/o-lora.js";
import { methodOptions, resolveConfig } from "../../lib/training/config.js";
import { temporaryFolder, writeTinyCheckpoint } from "../training/tiny-run.js";
import { RecordedRun } from "./recorded-run.js";
import {
  combined,
  distance,
  learned,
  learnedSlowly,
  times,
  timesTransposed,
  transposed,
  type Matrix,
  type Pair,
  type PenaltyGradient,
} from "./slow-adapters.js";

type Options = Parameters<typeof oLora.learn>[1];
const optionsOf = (more: object = {}): Options =>
  methodOptions(resolveConfig({ method: "o-lora", ...more })) as Options;

const planned = { task: 6, withMemory: 6, memory: 0 };
function runOf(index: number): RecordedRun {
  const run = new RecordedRun(planned);
  Object.assign(run, { task: { index, name: `task ${index}` } });
  run.frozenAdapters = Math.max(0, index - 1);
  return run;
}

const zeros = (like: Matrix): Matrix => like.map((row) => row.map(() => 0));
const frobenius = (x: Matrix): number => Math.hypot(...x.flat());

/** By A: l1 * sum over earlier F of sign(F A^T)^T F, or 2 (F A^T)^T F; by both: l2 * X / |X|. */
function gradient(l1: number, l2: number, form: "absolute" | "squared"): PenaltyGradient {
  const normed = (x: Matrix): Matrix =>
    combined(x, x, (value) => (frobenius(x) > 0 ? (l2 * value) / frobenius(x) : 0));
  return ({ a, b }: Pair, earlier: readonly Pair[]): Pair => {
    let byA = normed(a);
    for (const { a: frozen } of earlier) {
      const overlap = timesTransposed(frozen, a);
      const outer = form === "absolute" ? overlap.map((row) => row.map(Math.sign)) : overlap;
      const factor = form === "absolute" ? l1 : 2 * l1;
      byA = combined(byA, times(transposed(outer), frozen), (sum, value) => sum + factor * value);
    }
    return { a: byA, b: normed(b) };
  };
}

describe("o-lora", function () {
  this.timeout(30_000);
  const folder = temporaryFolder();
  let model: string;
  before(async () => {
    model = await writeTinyCheckpoint(join(folder.path, "model"));
  });

  for (const orthogonalForm of ["absolute", "squared"] as const) {
    it(`learns three tasks as the formulas say, overlap ${orthogonalForm}`, async () => {
      const options = optionsOf({ orthogonalWeights: [2], adapterNormWeights: [0.3], orthogonalForm });
      const found = await learned(model, 3, oLora, options);
      const expected = await learnedSlowly(model, 3, gradient(2, 0.3, orthogonalForm));
      const without = await learnedSlowly(model, 3, ({ a, b }) => ({ a: zeros(a), b: zeros(b) }));
      found.forEach((values, task) => {
        expect(distance(values, expected[task]!), `task ${task}`).to.be.below(1e-3);
        expect(distance(without[task]!, expected[task]!), `penalty of task ${task}`).to.be.above(0.02);
      });
    });
  }

  it("freezes the last task's adapter when a task begins, and once only", async () => {
    for (const [index, frozen] of [
      [0, 0],
      [1, 1],
      [4, 4],
    ] as const) {
      const run = runOf(index);
      await oLora.learn(run, optionsOf());
      expect(run.frozenAdapters).to.equal(frozen);
      expect(run.steps.map(({ batch }) => batch)).to.deep.equal([0, 1, 2, 3, 4, 5]);
    }
    const interrupted = runOf(2);
    interrupted.frozenAdapters = 2;
    interrupted.saved = { step: 3 };
    await oLora.learn(interrupted, optionsOf());
    expect(interrupted.frozenAdapters).to.equal(2);
    expect(interrupted.steps.map(({ step }) => step)).to.deep.equal([3, 4, 5]);
  });

  it("takes each task's weights, the last ones for tasks beyond, in the authors' preset for long orders", async () => {
    const options = optionsOf({ preset: "authors-long" });
    const weights: number[][] = [];
    for (const index of [0, 1, 6, 8, 9, 14, 20]) {
      const run = runOf(index);
      await oLora.learn(run, options);
      expect(new Set(run.penalties.map((penalty) => JSON.stringify(penalty))).size).to.equal(1);
      expect(run.penalties).to.have.length(6);
      const [penalty] = run.penalties as { l1: number; l2: number; form: string }[];
      weights.push([penalty!.l1, penalty!.l2]);
      expect(penalty!.form).to.equal("absolute");
      expect(new Set(run.steps.map(({ learningRate }) => learningRate))).to.deep.equal(
        // The recorded run has warm-up steps of its own.
        new Set([0, 0.25, 0.5, 0.75, 1].map((share) => share * 0.01)),
      );
    }
    expect(weights).to.deep.equal([
      [0, 0],
      [0.5, 0],
      [0.5, 0.3],
      [0.5, 0.1],
      [5, 0],
      [5, 0.3],
      [5, 0.3],
    ]);
  });
});
