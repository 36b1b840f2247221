import { expect } from "chai";
import { aimMerging } from "../../lib/methods/aim-merging.js";
import {
  beginning,
  Descent,
  farthest,
  gradientAt,
  learnToys,
  lossAt,
  memoryKeys,
  rateAt,
  taskKeys,
} from "./toy-run.js";

interface Settings {
  firstInterval: number;
  leastInterval: number;
  mostInterval: number;
  forgettingRatio: number;
  outerLearningRate: number;
}

/** Why a merge came, its weights and interval, and the interval after it. */
interface Merge {
  task: number;
  at: number;
  interval: number;
  next: number;
  signs: number;
  weights: number[];
}

function slowly(o: Settings, steps: number): { results: number[][]; merges: Merge[] } {
  let theta = beginning();
  const merges: Merge[] = [];
  const results = [0, 1, 2].map((task) => {
    const inner = new Descent();
    const outer = new Descent();
    let [outerSteps, interval, due, count, before] = [0, o.firstInterval, o.firstInterval, 0, 0];
    let [start, history] = [theta, [] as number[]];
    for (let k = 1; k <= steps; k++) {
      if (task > 0) history.push(lossAt(theta, memoryKeys(task, 2, k - 1)));
      theta = inner.step(theta, gradientAt(theta, taskKeys(task, k - 1)), rateAt(k - 1, steps));
      if (task === 0) continue;
      const early = history.slice(0, Math.floor((interval * 2) / 3));
      const mean = early.reduce((a, b) => a + b, 0) / early.length;
      const f = history.filter((loss, i) => i >= early.length && loss > o.forgettingRatio * mean).length;
      if (!((k >= due && f >= 1) || f >= 3 || k >= due + interval)) continue;

      const tauIn = theta.map((value, i) => value - start[i]!);
      theta = start;
      for (let n = 0; n < interval; n++, outerSteps++) {
        const gradient = gradientAt(theta, memoryKeys(task, 1, outerSteps));
        theta = outer.step(theta, gradient, rateAt(k - 1, steps, o.outerLearningRate));
      }
      const tauOut = theta.map((value, i) => value - start[i]!);
      let weights = [0.5, 0.5];
      if (f > 1 && interval > 70) weights = [0.4, 0.6];
      if (f <= 1 && interval <= 70) weights = [0.6, 0.4];
      theta = start.map((value, i) => value + weights[0]! * tauIn[i]! + weights[1]! * tauOut[i]!);

      const c = tauIn.reduce((sum, value) => sum + Math.abs(value), 0) / interval;
      let next = interval;
      if (count >= 3) {
        if (c >= before) {
          next = interval / (c / before);
          if (interval >= 64) next /= 2;
          next = Math.max(2, Math.floor(next));
        } else {
          next = interval * (before / c + (interval >= 64 ? 0.5 : 1));
          next = Math.min(128, Math.floor(next));
        }
      }
      merges.push({ task, at: k, interval, next, signs: f, weights });
      [before, interval, due, history, start] = [c, next, k + next, [], theta];
      count++;
    }
    return theta;
  });
  return { results, merges };
}

describe("aim-merging", () => {
  const published: Settings = {
    firstInterval: 8,
    leastInterval: 2,
    mostInterval: 128,
    forgettingRatio: 2,
    outerLearningRate: 0.04,
  };
  const runs: [name: string, settings: Settings, steps: number][] = [
    ["as published", published, 200],
    ["that starts with a long interval", { ...published, firstInterval: 72, forgettingRatio: 1.02 }, 900],
    ["that forgets in long intervals", { ...published, firstInterval: 72, forgettingRatio: 0.9 }, 900],
    ["that never forgets", { ...published, firstInterval: 72, forgettingRatio: 100 }, 600],
    ["that takes less for forgetting", { ...published, firstInterval: 6, forgettingRatio: 1.01 }, 160],
    ["with intervals of three steps", { ...published, firstInterval: 3, forgettingRatio: 1.01 }, 60],
  ];

  for (const [name, settings, steps] of runs) {
    it(`merges when learning and forgetting call for it, in a run ${name}`, async () => {
      const { results } = slowly(settings, steps);
      const found = await learnToys(aimMerging, { ...settings }, { steps });
      expect(farthest(found, results)).to.be.below(2e-5);
    });
  }

  it("reports every merge, with what it was made of", async () => {
    for (const [name, settings, steps] of runs.slice(0, 2)) {
      const reported: Pick<Merge, "task" | "at" | "interval" | "weights">[] = [];
      let farthestFromMerge = 0;
      await learnToys(
        aimMerging,
        { ...settings },
        {
          steps,
          async onCycle({ cycle, fused, merge, vectors, importance, masks }, { task, parameters }) {
            expect([fused, importance, masks]).to.deep.equal([true, undefined, undefined]);
            const { step, weightIn, weightOut, interval } = merge!;
            expect(cycle, "number of the task's merge").to.equal(
              reported.filter((m) => m.task === task.index).length,
            );
            reported.push({ task: task.index, at: step, interval, weights: [weightIn, weightOut] });
            const { start, tauIn, tauOut } = vectors;
            const [a, b, c, theta] = await Promise.all(
              [start, tauIn, tauOut, parameters].map((v) => v.read()),
            );
            theta!.forEach((value, i) => {
              const apart = Math.abs(value - (a![i]! + weightIn * b![i]! + weightOut * c![i]!));
              farthestFromMerge = Math.max(farthestFromMerge, apart);
            });
          },
        },
      );
      const expected = slowly(settings, steps).merges.map(({ task, at, interval, weights }) => ({ task, at, interval, weights })); // prettier-ignore
      expect(reported, name).to.deep.equal(expected);
      expect(reported).to.have.length.above(5);
      expect(farthestFromMerge).to.be.below(1e-6);
    }
  });

  const rules: [rule: string, fits: (merge: Merge) => boolean][] = [
    ["no sign of forgetting", ({ signs }) => signs === 0],
    ["three signs of it", ({ signs }) => signs >= 3],
    ["several signs in a long interval", ({ signs, interval }) => signs > 1 && interval > 70],
    ["several signs in a short one", ({ signs, interval }) => signs > 1 && interval <= 70],
    ["few signs in a long interval", ({ signs, interval }) => signs <= 1 && interval > 70],
    ["few signs in a short one", ({ signs, interval }) => signs <= 1 && interval <= 70],
    ["a longer interval", ({ interval, next }) => next > interval && interval < 64],
    ["a shorter interval", ({ interval, next }) => next < interval && interval < 64],
    ["a long interval that is halved", ({ interval, next }) => next < interval && interval >= 64],
  ];
  for (const [rule, fits] of rules) {
    it(`had a merge with ${rule} among these`, () => {
      expect(runs.flatMap(([, settings, steps]) => slowly(settings, steps).merges).some(fits)).to.equal(true);
    });
  }
});
