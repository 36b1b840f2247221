import { expect } from "chai";
import { migu } from "../../lib/methods/migu.js";
import { RecordedRun } from "./recorded-run.js";

const planned = { task: 6, withMemory: 6, memory: 0 };

/** The quantile by sorting, linear between neighbours. */
function quantile(values: readonly number[], at: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = at * (sorted.length - 1);
  const below = Math.floor(rank);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (rank - below) * (sorted[above]! - sorted[below]!);
}

/** Zeros for the rows of [rows, columns] whose sum is below the quantile of the sums. */
function masked(gradient: number[], sums: number[], at: number): number[] {
  const columns = gradient.length / sums.length;
  const threshold = Math.fround(quantile(sums, at));
  return gradient.map((value, i) => (sums[Math.floor(i / columns)]! >= threshold ? value : 0));
}

const noise = (i: number): number => Math.fround(Math.sin(12.9898 * (i + 1)) * 2);

describe("migu", () => {
  for (const maskQuantile of [0, 0.3, 0.7, 1]) {
    it(`updates the rows whose outputs reach the quantile ${maskQuantile} of their matrix`, async () => {
      const run = new RecordedRun(planned);
      const [a, b] = run.tensors.map(({ shape }) => shape as [number, number]) as [
        [number, number],
        [number, number],
      ];
      const rows = a[0] + b[0];
      const expected: number[][] = [];
      run.backward = ({ step, outputSums }) => {
        const gradient = Array.from({ length: run.parameters.length }, (_, i) => noise(100 * step + i));
        const sums = Array.from({ length: rows }, (_, i) => Math.abs(noise(1000 * step + i)));
        run.gradients.set(Float32Array.from(gradient));
        outputSums!.set(Float32Array.from(sums));
        const split = a[0] * a[1];
        expected.push([
          ...masked(gradient.slice(0, split), sums.slice(0, a[0]), maskQuantile),
          ...masked(gradient.slice(split), sums.slice(a[0]), maskQuantile),
        ]);
      };
      const found: Promise<Float32Array>[] = [];
      run.move = () => found.push(run.gradients.read());
      await migu.learn(run, { maskQuantile });
      expect((await Promise.all(found)).map((values) => Array.from(values))).to.deep.equal(expected);
      expect(expected).to.have.length(6);
    });
  }

  it("trains the first task plainly, without sums", async () => {
    const run = new RecordedRun(planned);
    Object.assign(run, { task: { index: 0, name: "first" } });
    let asked = false;
    run.backward = ({ outputSums }) => {
      asked ||= outputSums !== undefined;
      run.gradients.fill(1);
    };
    await migu.learn(run, { maskQuantile: 0.7 });
    expect(run.steps).to.have.length(6);
    expect(asked).to.equal(false);
    expect([...new Set(await run.gradients.read())]).to.deep.equal([1]);
  });
});
