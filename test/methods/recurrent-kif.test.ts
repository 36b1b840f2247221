import { expect } from "chai";
import { recurrentKif } from "../../lib/methods/recurrent-kif.js";
import { resolveConfig, methodOptions } from "../../lib/training/config.js";
import { RecordedRun, type RecordedStep } from "./recorded-run.js";

type Options = Parameters<typeof recurrentKif.learn>[1];

function optionsOf(preset: string, more: object = {}): Options {
  return methodOptions(resolveConfig({ preset, ...more })) as Options;
}

/** Warm-up from 0 over `warmup` steps, then down to 0 at `total`: worked out anew, by a straight line through two points. */
function rate(step: number, base: number, warmup: number, total: number): number {
  const line = (x0: number, y0: number, x1: number, y1: number): number =>
    y0 + ((step - x0) * (y1 - y0)) / (x1 - x0);
  return step < warmup ? line(0, 0, warmup, base) : line(warmup, base, total, 0);
}

const inner = ({ loop }: RecordedStep): boolean => loop === 0;
const outer = ({ loop }: RecordedStep): boolean => loop === 1;

describe("recurrent-kif", () => {
  const planned = { task: 22, withMemory: 26, memory: 5 };

  for (const preset of ["paper", "published-code"]) {
    it(`runs whole cycles, then the steps that are left over (${preset})`, async () => {
      const run = new RecordedRun(planned);
      await recurrentKif.learn(run, optionsOf(preset));
      // Q = 8, M = 4: 22 steps are 2 cycles and a rest of 6.
      const expected = [..."000000001111", ..."000000001111", ..."000000"].map(Number);
      expect(run.steps.map(({ loop }) => loop)).to.deep.equal(expected);
      expect(run.cycles.map(({ cycle }) => cycle)).to.deep.equal([0, 1]);
      expect(run.steps.filter(inner).map(({ step }) => step)).to.deep.equal([...Array(22).keys()]);
      expect(run.steps.filter(outer).map(({ step }) => step)).to.deep.equal([...Array(8).keys()]);
    });

    it(`takes inner batches from the task, outer ones from the memory (${preset})`, async () => {
      const run = new RecordedRun(planned);
      await recurrentKif.learn(run, optionsOf(preset));
      expect(run.steps.filter(inner).map(({ batch }) => batch)).to.deep.equal([...Array(22).keys()]);
      expect(run.steps.filter(outer).map(({ batch }) => batch - 2000)).to.deep.equal([...Array(8).keys()]);
    });

    it(`measures importance in the cycles alone, in a loop's own averages (${preset})`, async () => {
      const run = new RecordedRun(planned);
      await recurrentKif.learn(run, optionsOf(preset));
      const reads = preset === "paper" ? "before" : "after";
      run.steps.forEach(({ loop, importance, reads: found }, i) => {
        const tail = i >= 24;
        expect(importance).to.equal(tail ? undefined : loop === 0 ? "in" : "out");
        expect(found).to.equal(tail ? undefined : reads);
      });
      expect(run.resets.filter((reset) => reset.startsWith("in"))).to.deep.equal([
        "in before step 0",
        "in before step 12",
      ]);
    });

    it(`trains the first task plainly (${preset})`, async () => {
      const run = new RecordedRun({ ...planned, memory: 0 });
      await recurrentKif.learn(run, optionsOf(preset));
      expect(run.steps).to.have.length(22);
      expect(run.steps.every((step) => inner(step) && step.importance === undefined)).to.equal(true);
      expect(run.cycles).to.deep.equal([]);
      run.steps.forEach(({ learningRate, step }) =>
        expect(learningRate).to.be.closeTo(rate(step, 0.01, 4, 22), 1e-15),
      );
    });
  }

  it("steps the outer loop by its own optimizer and schedule in the paper's form", async () => {
    const run = new RecordedRun(planned);
    await recurrentKif.learn(run, optionsOf("paper", { outerLearningRate: 0.5 }));
    for (const { loop, step, learningRate, optimizer, lossScale } of run.steps) {
      // The outer schedule ends with the last outer step of the last cycle: 2 * 4.
      const expected = loop === 0 ? rate(step, 0.01, 4, 22) : rate(step, 0.5, 4, 8);
      expect(learningRate, `loop ${loop}, step ${step}`).to.be.closeTo(expected, 1e-15);
      expect(optimizer).to.equal(loop === 0 ? "inner" : "outer");
      expect(lossScale ?? 1).to.equal(1);
    }
  });

  it("steps the outer loop by the inner optimizer at the next inner step's rate in the published code's form", async () => {
    const run = new RecordedRun(planned);
    await recurrentKif.learn(run, optionsOf("published-code", { outerLearningRate: 0.5 }));
    expect([...run.optimizers]).to.deep.equal(["inner"]);
    let innerSteps = 0;
    for (const { loop, learningRate, optimizer, lossScale } of run.steps) {
      expect(optimizer).to.equal("inner");
      expect(learningRate).to.be.closeTo(rate(innerSteps, 0.01, 4, 22), 1e-15);
      expect(lossScale ?? 1).to.equal(loop === 0 ? 1 : 0.25);
      if (loop === 0) innerSteps++;
    }
  });

  it("measures importance in the first cycle alone, in its static form", async () => {
    const run = new RecordedRun(planned);
    await recurrentKif.learn(run, optionsOf("static-importance"));
    const measured = run.steps.map(({ importance }) => importance ?? "-");
    expect(measured).to.deep.equal([
      ...[...Array<string>(8).fill("in"), ...Array<string>(4).fill("out")],
      ...Array<string>(12 + 6).fill("-"),
    ]);
    expect(run.resets).to.deep.equal(["in before step 0"]);
    expect(run.cycles.map(({ cycle }) => cycle)).to.deep.equal([0, 1]);
  });

  it("trains a whole task, then makes all outer steps, then fuses once, in the form of one global merge", async () => {
    const run = new RecordedRun(planned);
    await recurrentKif.learn(run, optionsOf("global-merge"));
    // 22 steps would be 2 cycles with 4 outer steps each.
    expect(run.steps.map(({ loop }) => loop)).to.deep.equal([
      ...Array<number>(22).fill(0),
      ...Array<number>(8).fill(1),
    ]);
    expect(run.cycles.map(({ cycle, cycles }) => [cycle, cycles])).to.deep.equal([[0, 1]]);
    for (const { loop, step, learningRate } of run.steps)
      expect(learningRate).to.be.closeTo(
        loop === 0 ? rate(step, 0.01, 4, 22) : rate(step, 1e-3, 4, 8),
        1e-15,
      );
    const short = new RecordedRun({ task: 7, withMemory: 8, memory: 5 });
    await recurrentKif.learn(short, optionsOf("global-merge"));
    expect([short.steps.length, short.cycles]).to.deep.equal([7, []]);
  });

  describe("fuses as its ablations have it", () => {
    // The inner loop moves every parameter by 3, the outer one by 2; scores are set so that the inner mask has elements 0-1, the outer 1-2.
    async function fusedBy(preset: string, more: object = {}): Promise<number[]> {
      const run = new RecordedRun({ task: 3, withMemory: 4, memory: 5 }, (self) => {
        self.parameters.addScaled(self.vector("one"), 1);
        for (const [name, scores] of Object.entries({ in: [9, 8, 1, 1], out: [1, 8, 9, 1] })) {
          const values = Float32Array.from({ length: self.parameters.length }, (_, i) => scores[i] ?? 0);
          self.vector(`${name}.importance`).set(values);
          self.vector(`${name}.uncertainty`).fill(1);
        }
      });
      run.vector("one").fill(1);
      const options = { innerSteps: 3, outerSteps: 2, keepFraction: 0.2, selectBy: "top-k", ...more };
      await recurrentKif.learn(run, optionsOf(preset, options));
      return [...(await run.parameters.read())];
    }
    const rest = (value: number): number[] => Array<number>(6).fill(value);

    it("the paper's form, for comparison", async () => {
      expect(await fusedBy("paper")).to.deep.equal([3, 5, 2, 0, ...rest(0)]);
    });
    it("the shared region is not updated", async () => {
      expect(await fusedBy("no-shared")).to.deep.equal([3, 0, 2, 0, ...rest(0)]);
    });
    it("without identification everything is averaged", async () => {
      expect(await fusedBy("no-identification")).to.deep.equal([2.5, 2.5, 2.5, 2.5, ...rest(2.5)]);
    });
    it("by tensor each keeps its share of elements", async () => {
      // Of A's four elements one in four, of B's six one or two: all their scores are equal, and the first go before.
      const fused = await fusedBy("per-tensor", { keepFraction: 0.25 });
      expect(fused.slice(0, 4)).to.deep.equal([3, 0, 2, 0]);
      expect(fused.slice(4)).to.deep.equal([5, 5, 0, 0, 0, 0]);
    });
    it("by a softmax of scores where adaptive", async () => {
      // Scores 9 and 1 of 0..9: in and out weigh e^1 and e^(1/9).
      const [first, second] = await fusedBy("adaptive");
      const share = 1 / (1 + Math.exp(1 / 9 - 1));
      expect(first).to.be.closeTo(3 * share + 2 * (1 - share), 1e-6);
      expect(second).to.be.closeTo(2.5, 1e-6);
    });
  });

  it("has no cycle where the task is shorter than one", async () => {
    const run = new RecordedRun({ task: 7, withMemory: 8, memory: 5 });
    await recurrentKif.learn(run, optionsOf("paper"));
    expect(run.steps.map(({ loop }) => loop)).to.deep.equal(Array(7).fill(0));
    expect(run.cycles).to.deep.equal([]);
  });

  for (const [preset, fused] of [
    // By (0, 0) and by (0.5, 0.5), for weights in neither mask.
    ["paper", 0],
    ["published-code", 0.5 * 3 + 0.5 * 2],
  ] as const) {
    it(`fuses what each loop moved by itself (${preset})`, async () => {
      // Each step adds 1 to every parameter: the inner loop moves them by 3, the outer loop by 2, wherever it starts.
      const run = new RecordedRun({ task: 3, withMemory: 4, memory: 5 }, (self) => {
        self.parameters.addScaled(self.vector("one"), 1);
      });
      run.vector("one").fill(1);
      const seen: number[][] = [];
      run.cycle = async ({ vectors }) => {
        for (const vector of [vectors.tauIn, vectors.tauOut, run.parameters])
          seen.push([...new Set(await vector.read())]);
      };
      // No importance was ever measured: all scores equal the threshold, and ">" selects none.
      const options = optionsOf(preset, { innerSteps: 3, outerSteps: 2, maskCompare: ">" });
      await recurrentKif.learn(run, options);
      expect(seen).to.deep.equal([[3], [2], [fused]]);
    });
  }

  it("goes on from saved counters in the middle of an outer loop", async () => {
    const run = new RecordedRun(planned);
    run.saved = { cycle: 1, phase: "outer", inner: 8, outer: 3, step: 16, outerStep: 7 };
    await recurrentKif.learn(run, optionsOf("paper"));
    expect(run.steps.map(({ loop, step }) => [loop, step])).to.deep.equal([
      [1, 7],
      ...[16, 17, 18, 19, 20, 21].map((step) => [0, step]),
    ]);
    expect(run.resets).to.deep.equal([]);
  });
});
