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

/** By the formulas: loss + (lambda / 2) sum F (theta - anchor)^2, F <- gamma F + mean g^2. */
function slowly(lambda: number, gamma: number, fisherRecords: readonly number[]): number[][] {
  let theta = beginning();
  let anchor = theta;
  let fisher = theta.map(() => 0);
  return [0, 1, 2].map((task) => {
    const descent = new Descent();
    for (let step = 0; step < steps; step++) {
      const gradient = gradientAt(theta, taskKeys(task, step));
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

  it("is sequential training without strength, and nearly stands still with much", async () => {
    const free = slowly(0, 0, [0]);
    expect(farthest(await learned({ ...options, ewcStrength: 0 }), free)).to.be.below(1e-5);
    expect(farthest(await learned(options), free)).to.be.above(0.03);
  });
});
