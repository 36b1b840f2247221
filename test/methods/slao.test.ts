import { expect } from "chai";
import { orthonormalRows } from "../../lib/methods/orthonormal-rows.js";
import { slao } from "../../lib/methods/slao.js";
import { beginning, Descent, farthest, gradientAt, learnToys, rateAt, taskKeys, tensors } from "./toy-run.js";

type Matrix = number[][];

const transposed = (m: Matrix): Matrix => m[0]!.map((_, j) => m.map((row) => row[j]!));
const times = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => b[0]!.map((_, j) => row.reduce((sum, value, k) => sum + value * b[k]![j]!, 0)));

/** Q of the QR decomposition by Householder's reflections, its columns' signs those that make R's diagonal positive. */
function householderQ(a: Matrix): Matrix {
  const [rows, columns] = [a.length, a[0]!.length];
  let r = a.map((row) => [...row]);
  let q: Matrix = r.map((_, i) => r.map((_, j) => Number(i === j)));
  for (let k = 0; k < Math.min(rows - 1, columns); k++) {
    const x = r.map((row, i) => (i < k ? 0 : row[k]!));
    const v = x.map((value, i) => (i === k ? value + (Math.sign(value) || 1) * Math.hypot(...x) : value));
    const length = v.reduce((sum, value) => sum + value * value, 0);
    const reflection = v.map((vi, i) => v.map((vj, j) => Number(i === j) - (2 * vi * vj) / length));
    r = times(reflection, r);
    q = times(q, reflection);
  }
  return q.map((row) => row.slice(0, columns).map((value, k) => value * Math.sign(r[k]![k]!)));
}

const matrixAt = (values: ArrayLike<number>, { shape, offset }: (typeof tensors)[number]): Matrix =>
  Array.from({ length: shape[0]! }, (_, i) =>
    Array.from({ length: shape[1]! }, (_, j) => values[offset + i * shape[1]! + j]!),
  );

function slowly(steps: number): number[][] {
  let trained: Matrix[] = tensors.map((tensor) => matrixAt(beginning(), tensor));
  let merged: Matrix[] = [];
  return [0, 1, 2].map((task) => {
    // A, B, A, B
    if (task > 0)
      trained = trained.map((m, i) => (i % 2 === 0 ? transposed(householderQ(transposed(m))) : m));
    let theta = trained.flat(2);
    const descent = new Descent();
    for (let step = 0; step < steps; step++)
      theta = descent.step(theta, gradientAt(theta, taskKeys(task, step)), rateAt(step, steps));
    trained = tensors.map((tensor) => matrixAt(theta, tensor));
    const last = merged;
    merged = trained.map((m, i) =>
      task === 0 || i % 2 === 0
        ? m
        : m.map((row, r) =>
            row.map((value, c) => last[i]![r]![c]! + (value - last[i]![r]![c]!) / Math.sqrt(task + 1)),
          ),
    );
    return merged.flat(2);
  });
}

describe("slao", () => {
  it("starts from the orthonormal basis of the last A and averages B in", async () => {
    const found = await learnToys(slao, {}, { steps: 20 });
    expect(farthest(found, slowly(20))).to.be.below(1e-5);
  });

  it("takes A's basis as it is where nothing trains it further", async () => {
    // A warm-up that no step outlasts: all rates are 0 at the first step.
    const found = await learnToys(slao, {}, { steps: 1, tasks: 2 });
    const [a] = tensors.map((tensor) => matrixAt(found[1]!, tensor));
    const product = times(a!, transposed(a!));
    expect(farthest(product, [[1, 0], [0, 1]])).to.be.below(1e-6); // prettier-ignore
  });
});

describe("orthonormal rows", () => {
  const rowsOf = (values: Float32Array, columns: number): Matrix =>
    Array.from({ length: values.length / columns }, (_, i) => [
      ...values.slice(i * columns, (i + 1) * columns),
    ]);

  it("are Q^T of Householder's QR, also of rows that nearly depend on each other", () => {
    for (const spread of [1, 1e-2]) {
      const a = Float32Array.from({ length: 40 }, (_, i) => Math.sin(i % 8) + spread * Math.sin(i * i + 1));
      const expected = transposed(householderQ(transposed(rowsOf(a, 8))));
      expect(farthest(rowsOf(orthonormalRows(a, 5, 8), 8), expected), `spread ${spread}`).to.be.below(1e-6);
    }
  });

  it("are completed where rows depend on each other or are zero, and zero beyond the columns", () => {
    const a = Float32Array.of(1, 2, 3, 2, 4, 6, 0, 0, 0, 1, 1, 1);
    const rows = rowsOf(orthonormalRows(a, 4, 3), 3);
    const identity = [0, 1, 2, 3].map((i) => [0, 1, 2, 3].map((j) => Number(i === j && i < 3)));
    expect(farthest(times(rows, transposed(rows)), identity)).to.be.below(1e-6);
    expect(farthest([rows[0]!], [[1, 2, 3].map((value) => value / Math.sqrt(14))])).to.be.below(1e-7);
  });
});
