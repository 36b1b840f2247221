import { expect } from "chai";
import type { AdamWOptions } from "../../lib/native/contract.js";
import { adamwOptions, addon, fp32, read, vector } from "./addon.js";

const { fround, abs, sqrt } = Math;
const weights = fp32(0.5, -0.25, 3, 0);
const gradients = fp32(0.1, 0.2, -0.3, 0.4);
const decay = { importanceDecay: 0.85, uncertaintyDecay: 0.9 };

/** One element's averages, rounded as fp32 arithmetic rounds; 1 - a is taken in double. */
function averaged(w: number, g: number, importance: number, uncertainty: number): [number, number] {
  const blend = (a: number, old: number, now: number): number =>
    fround(fround(fround(a) * old) + fround(fround(1 - a) * now));
  const sensitivity = abs(fround(w * g));
  const i = blend(decay.importanceDecay, importance, sensitivity);
  return [i, blend(decay.uncertaintyDecay, uncertainty, abs(fround(sensitivity - i)))];
}

describe("updateImportance", () => {
  it("averages |w * g| and its deviation", async () => {
    const into = { importance: addon().createVector(4), uncertainty: addon().createVector(4) };
    const [w, g] = [vector(weights), vector(gradients)];
    let expected: [number, number][] = weights.map(() => [0, 0]);
    for (let update = 0; update < 3; ++update) {
      addon().updateImportance(into, w, g, decay);
      expected = expected.map(([i, u], at) => averaged(weights[at]!, gradients[at]!, i, u));
      expect(await read(into.importance)).to.deep.equal(expected.map(([i]) => i));
      expect(await read(into.uncertainty)).to.deep.equal(expected.map(([, u]) => u));
    }
  });

  it("keeps the averages where the mask is 0, even beside a NaN", async () => {
    const into = { importance: vector([1, 1, 1, 1]), uncertainty: vector([2, 2, 2, 2]) };
    const mask = addon().createMask(Uint8Array.of(1, 0, 0, 1));
    addon().updateImportance(into, vector(weights), vector([0.1, 0.2, NaN, 0.4]), { ...decay, mask });
    const [first, last] = [averaged(0.5, gradients[0]!, 1, 2), averaged(0, gradients[3]!, 1, 2)];
    expect(await read(into.importance)).to.deep.equal([first[0], 1, 1, last[0]]);
    expect(await read(into.uncertainty)).to.deep.equal([first[1], 2, 2, last[1]]);
  });
});

describe("adamwStep", () => {
  const options: AdamWOptions = { ...adamwOptions, weightDecay: 0.1 };
  const make = (g: number[]) => ({
    parameters: vector(weights),
    gradients: vector(g),
    m: addon().createVector(4),
    v: addon().createVector(4),
  });

  /** torch.optim.AdamW by its formula, in double precision. */
  function reference(g: number[], updates: number): { w: number[]; m: number[]; v: number[] } {
    const { learningRate: lr, beta1, beta2, epsilon, weightDecay } = options;
    const [w, m, v] = [[...weights], g.map(() => 0), g.map(() => 0)];
    for (let t = 1; t <= updates; ++t)
      g.forEach((x, i) => {
        m[i] = beta1 * m[i]! + (1 - beta1) * x;
        v[i] = beta2 * v[i]! + (1 - beta2) * x * x;
        const step = m[i] / (1 - beta1 ** t) / (sqrt(v[i] / (1 - beta2 ** t)) + epsilon);
        w[i] = w[i]! - lr * weightDecay * w[i]! - lr * step;
      });
    return { w, m, v };
  }

  function expectClose(found: number[], expected: number[]): void {
    found.forEach((x, i) => expect(x).to.be.closeTo(expected[i]!, 4e-7 * Math.max(1, abs(expected[i]!))));
  }

  it("follows the formula over several updates", async () => {
    const vectors = make(gradients);
    for (let update = 1; update <= 4; ++update) {
      const report = await addon().adamwStep(vectors, { ...options, update });
      expect(report.applied).to.equal(true);
      expect(report.nonFinite).to.equal(0);
      expect(report.gradNorm).to.be.closeTo(sqrt(gradients.reduce((sum, g) => sum + g * g, 0)), 1e-12);
    }
    const { w, m, v } = reference(gradients, 4);
    expectClose(await read(vectors.parameters), w);
    expectClose(await read(vectors.m), m);
    expectClose(await read(vectors.v), v);
    expect(await read(vectors.gradients)).to.deep.equal(gradients);
  });

  it("clips by the norm of all gradients, and not below it", async () => {
    const clipped = make(fp32(3, 4, 0, 0));
    const { gradNorm } = await addon().adamwStep(clipped, { ...options, maxGradNorm: 1 });
    expect(gradNorm).to.equal(5);
    expectClose(await read(clipped.m), [0.06, 0.08, 0, 0]);
    const free = make(fp32(3, 4, 0, 0));
    await addon().adamwStep(free, { ...options, maxGradNorm: 6 });
    expectClose(await read(free.m), [0.3, 0.4, 0, 0]);
  });

  it("updates importance from the weight before or after, with the clipped gradient", async () => {
    for (const reads of ["before", "after"] as const) {
      const vectors = make(fp32(3, 4, 0, 0));
      const importance = { importance: addon().createVector(4), uncertainty: addon().createVector(4) };
      await addon().adamwStep(vectors, {
        ...options,
        maxGradNorm: 1,
        importance: { ...importance, ...decay, reads },
      });
      const w = reads === "before" ? weights : await read(vectors.parameters);
      const factor = fround(1 / (5 + 1e-6));
      const expected = [3, 4, 0, 0].map((g, i) => averaged(w[i]!, fround(g * factor), 0, 0));
      expect(await read(importance.importance)).to.deep.equal(expected.map(([i]) => i));
      expect(await read(importance.uncertainty)).to.deep.equal(expected.map(([, u]) => u));
    }
  });

  it("changes nothing where a gradient is not finite, and says so", async () => {
    for (const bad of [NaN, Infinity, -Infinity]) {
      const vectors = make([0.1, bad, 0.3, NaN]);
      const importance = { importance: vector([1, 1, 1, 1]), uncertainty: vector([2, 2, 2, 2]) };
      const report = await addon().adamwStep(vectors, {
        ...options,
        maxGradNorm: 1,
        importance: { ...importance, ...decay, reads: "after" },
      });
      expect(report.applied).to.equal(false);
      expect(report.nonFinite).to.equal(2);
      expect(Number.isFinite(report.gradNorm)).to.equal(false);
      expect(await read(vectors.parameters)).to.deep.equal(weights);
      for (const moment of [vectors.m, vectors.v]) expect(await read(moment)).to.deep.equal([0, 0, 0, 0]);
      expect(await read(importance.importance)).to.deep.equal([1, 1, 1, 1]);
      expect(await read(importance.uncertainty)).to.deep.equal([2, 2, 2, 2]);
    }
  });
});
