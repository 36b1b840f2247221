import { expect } from "chai";
import { multiTask } from "../../lib/methods/multi-task.js";
import { perTask } from "../../lib/methods/per-task.js";
import { beginning, Descent, farthest, gradientAt, learnToys, rateAt, taskKeys } from "./toy-run.js";

const steps = 20;

function trained(start: number[], task: number): number[] {
  const descent = new Descent();
  let theta = start;
  for (let step = 0; step < steps; step++)
    theta = descent.step(theta, gradientAt(theta, taskKeys(task, step)), rateAt(step, steps));
  return theta;
}

describe("per-task", () => {
  it("trains every task from where the run began", async () => {
    const expected = [0, 1, 2].map((task) => trained(beginning(), task));
    const found = await learnToys(perTask, {}, { steps });
    expect(farthest(found, expected)).to.be.below(1e-5);
    expect(farthest(found.slice(1), found.slice(0, -1))).to.be.above(0.03);
  });
});

describe("multi-task", () => {
  it("trains plainly over the records it is given", async () => {
    const found = await learnToys(multiTask, {}, { tasks: 1, steps });
    expect(farthest(found, [trained(beginning(), 0)])).to.be.below(1e-5);
  });
});
