import { expect } from "chai";
import { ewc } from "../../lib/methods/ewc.js";
import {
  beginning,
  Descent,
  farthest,
  gradientAt,
  learnToys,
  rateAt,
  recordKeys,
  taskKeys,
} from "./toy-run.js";

const steps = 20;

/**
 * By the formulas: loss + (lambda / 2) sum F (theta - anchor)^2, F <- gamma F + mean g^2.
 * @param penalties the penalty before every step of the tasks after the first, added in order
 */
function slowly(
  lambda: number,
  gamma: number,
  fisherRecords: readonly number[],
  penalties: number[] = [],
): number[][] {
  let theta = beginning();
  let anchor = theta;
  let fisher = theta.map(() => 0);
  return [0, 1, 2].map((task) => {
    const descent = new Descent();
    for (let step = 0; step < steps; step++) {
      const gradient = gradientAt(theta, taskKeys(task, step));
      const squares = theta.map((value, i) => fisher[i]! * (value - anchor[i]!) ** 2);
      if (task > 0) penalties.push((lambda / 2) * squares.reduce((a, b) => a + b, 0));
      const pulled = gradient.map((g, i) => g + lambda * fisher[i]! * (theta[i]! - anchor[i]!));
      theta = descent.step(theta, pulled, rateAt(step, steps));
    }
    const single = fisherRecords.map((i) => gradientAt(theta, [recordKeys(task)[i]!]));
    fisher = fisher.map(
      (old, i) => gamma * old + single.reduce((sum, g) => sum + g[i]! ** 2, 0) / single.length,
    );
    anchor = theta;
    return theta;
  });
}

describe("ewc", () => {
  const learned = (options: Record<string, unknown>): Promise<Float32Array[]> =>
    learnToys(ewc, options, { steps });
  const options = { ewcStrength: 3, fisherDecay: 0.7, fisherRecords: null };

  it("pulls by the Fisher information of all earlier tasks", async () => {
    expect(farthest(await learned(options), slowly(3, 0.7, [0, 1, 2, 3, 4, 5]))).to.be.below(1e-5);
  });

  it("takes the Fisher information of some records, evenly spread", async () => {
    const some = await learned({ ...options, fisherRecords: 4 });
    expect(farthest(some, slowly(3, 0.7, [0, 1, 3, 4]))).to.be.below(1e-5);
    expect(farthest(some, slowly(3, 0.7, [0, 1, 2, 3, 4, 5]))).to.be.above(1e-3);
  });

  it("gives the penalty of every step, and none for the first task", async () => {
    const expected: number[] = [];
    slowly(3, 0.7, [0, 1, 2, 3, 4, 5], expected);
    const found: number[] = [];
    let without = 0;
    await learnToys(ewc, options, {
      steps,
      onStep({ penalty }) {
        if (penalty === undefined) without++;
        else found.push(penalty);
      },
    });
    expect(without).to.equal(steps);
    expect(found).to.have.length(2 * steps);
    expect(found[0], "at the anchor").to.equal(0);
    const most = Math.max(...expected);
    expect(most).to.be.above(0.01);
    for (const [i, penalty] of found.entries())
      expect(penalty, `step ${i}`).to.be.closeTo(expected[i]!, 1e-5 * most);
  });

  it("is sequential training without strength, and nearly stands still with much", async () => {
    const free = slowly(0, 0, [0]);
    expect(farthest(await learned({ ...options, ewcStrength: 0 }), free)).to.be.below(1e-5);
    expect(farthest(await learned(options), free)).to.be.above(0.03);
  });
});
