/**
 * Tasks learned with one adapter each, worked out anew: the model computes with a single adapter that is all of them side by side, and
 * everything else, penalties and AdamW included, is done here in double precision.
 */
import { loadModel, type TrainedModel } from "../../lib/models/trained-model.js";
import type { TrainingRecord } from "../../lib/methods/run.js";
import type { Method } from "../../lib/methods/method.js";
import { pack, countLabelTokens } from "../../lib/data/pack.js";
import type { Model, TensorLayout } from "../../lib/native/contract.js";
import { initialAdapter } from "../../lib/training/initialize.js";
import { TaskRun } from "../../lib/training/task-run.js";
import { newTaskCounters } from "../../lib/training/task-state.js";

export const rank = 3;
export const scale = 2;
const options = {
  ...{ seed: 5, learningRate: 5e-3, warmupSteps: 0, weightDecay: 0.01, maxGradNorm: null },
  ...{ microBatchSize: null, selectBestOnDev: false, devEvery: 100 },
};
const steps = 5;

export type Matrix = number[][];
/** Of one layer: A is [rank, in], B is [out, rank]. */
export interface Pair {
  a: Matrix;
  b: Matrix;
}
/** A penalty's gradient by A and B of one layer, given the earlier tasks' pairs. */
export type PenaltyGradient = (now: Pair, earlier: readonly Pair[], task: number) => Pair;

/** Records of a task; any other would do. */
function batchOf(task: number, step: number): TrainingRecord[] {
  const ids = (n: number, from: number): Int32Array =>
    Int32Array.from({ length: n }, (_, i) => 3 + ((7 * (i + from) + 13 * task + 5 * step) % 90));
  return Array.from({ length: 3 }, (_, i) => ({
    inputIds: ids(4 + i, 11 * i),
    labels: ids(2 + (i % 2), 17 * i),
    key: 10 * step + i,
  }));
}

async function load(folder: string, r: number): Promise<TrainedModel> {
  return loadModel({
    model: folder,
    ...{ threads: 1 },
    trainable: {
      ...{ kind: "lora", r, alpha: scale * r, dropout: 0, rsLora: false, targetModules: ["q", "v"] },
      ...{ rankPattern: {}, alphaPattern: {} },
    },
  });
}

/** The parameters after every task, by the method. */
export async function learned(
  folder: string,
  tasks: number,
  method: Method,
  methodOptions: Parameters<Method["learn"]>[1],
): Promise<Float32Array[]> {
  const { model } = await load(folder, rank);
  try {
    model.parameters.set(initialAdapter(model.layout, options.seed));
    const results: Float32Array[] = [];
    for (let index = 0; index < tasks; index++) {
      const none = { steps: 0, at: () => [] };
      const run = new TaskRun({
        ...{ task: { index, name: `task ${index}` }, options, model, memorySize: 0, devRecords: [] },
        ...{ dropout: false, counters: newTaskCounters() },
        taskBatches: () => ({ steps, at: (step) => batchOf(index, step) }),
        memoryBatches: () => none,
      });
      await method.learn(run, methodOptions);
      run.dispose();
      results.push(await model.parameters.read());
    }
    return results;
  } finally {
    model.dispose();
  }
}

/** The same by the formulas. */
export async function learnedSlowly(
  folder: string,
  tasks: number,
  penalty: PenaltyGradient,
): Promise<Float64Array[]> {
  const earlier: Pair[][] = [];
  const results: Float64Array[] = [];
  for (let task = 0; task < tasks; task++) {
    const { model } = await load(folder, rank * (task + 1));
    try {
      const layout = layoutOf(model.layout, task + 1);
      let theta: Float64Array = Float64Array.from(initialAdapter(layout, options.seed, task));
      const m = new Float64Array(theta.length);
      const v = new Float64Array(theta.length);
      for (let step = 0; step < steps; step++) {
        model.parameters.set(joinedValues(model.layout, [...earlier, pairsOf(layout, theta)]));
        const gradient = await gradientOf(model, layout, batchOf(task, step), task);
        const pairs = pairsOf(layout, theta).map((now, i) =>
          penalty(
            now,
            earlier.map((all) => all[i]!),
            task,
          ),
        );
        addInto(gradient, flat(pairs));
        theta = adamW(theta, gradient, { m, v, step });
      }
      earlier.push(pairsOf(layout, theta));
      results.push(theta);
    } finally {
      model.dispose();
    }
  }
  return results;
}

/** Where the tensors of one adapter lie, from the layout of one of several times the rank. */
function layoutOf(joined: readonly TensorLayout[], adapters: number): TensorLayout[] {
  let offset = 0;
  return joined.map(({ name, shape }, i) => {
    const own = i % 2 === 0 ? [shape[0]! / adapters, shape[1]!] : [shape[0]!, shape[1]! / adapters];
    const tensor = { name, shape: own, offset };
    offset += own[0]! * own[1]!;
    return tensor;
  });
}

function pairsOf(layout: readonly TensorLayout[], values: ArrayLike<number>): Pair[] {
  const matrices = layout.map(({ shape, offset }) =>
    Array.from({ length: shape[0]! }, (_, row) =>
      Array.from({ length: shape[1]! }, (_, column) => values[offset + row * shape[1]! + column]!),
    ),
  );
  return matrices.flatMap((a, i) => (i % 2 === 0 ? [{ a, b: matrices[i + 1]! }] : []));
}

function flat(pairs: readonly Pair[]): number[] {
  return pairs.flatMap(({ a, b }) => [...a.flat(), ...b.flat()]);
}

function joinedValues(layout: readonly TensorLayout[], adapters: readonly Pair[][]): Float32Array {
  const pairs = adapters[0]!.map((_, i) => ({
    a: adapters.flatMap((pairs) => pairs[i]!.a),
    b: adapters[0]![i]!.b.map((_, row) => adapters.flatMap((pairs) => pairs[i]!.b[row]!)),
  }));
  const values = flat(pairs);
  if (values.length !== layout.reduce((sum, { shape }) => sum + shape[0]! * shape[1]!, 0))
    throw new Error("the joined adapter has another size than the model's");
  return Float32Array.from(values);
}

/** The gradient by the last of the joined adapters. */
async function gradientOf(
  model: Model,
  layout: readonly TensorLayout[],
  batch: TrainingRecord[],
  task: number,
): Promise<Float64Array> {
  model.gradients.fill(0);
  await model.accumulate(pack(batch), { divisor: countLabelTokens(batch), lossScale: 1, dropout: null });
  const joined = pairsOf(model.layout, await model.gradients.read());
  const own = joined.map(({ a, b }) => ({
    a: a.slice(task * rank),
    b: b.map((row) => row.slice(task * rank)),
  }));
  const values = flat(own);
  const last = layout.at(-1)!;
  if (values.length !== last.offset + last.shape[0]! * last.shape[1]!)
    throw new Error("the gradient has another size than the adapter");
  return Float64Array.from(values);
}

function addInto(sum: Float64Array, values: readonly number[]): void {
  values.forEach((value, i) => (sum[i]! += value));
}

/** One step of AdamW at the rate of the linear schedule without warm-up. */
function adamW(
  theta: Float64Array,
  gradient: Float64Array,
  { m, v, step }: { m: Float64Array; v: Float64Array; step: number },
): Float64Array {
  const rate = (options.learningRate * (steps - step)) / steps;
  return theta.map((value, i) => {
    const g = gradient[i]!;
    m[i] = 0.9 * m[i]! + 0.1 * g;
    v[i] = 0.999 * v[i]! + 0.001 * g * g;
    const mean = m[i] / (1 - 0.9 ** (step + 1));
    const square = v[i] / (1 - 0.999 ** (step + 1));
    return value * (1 - rate * options.weightDecay) - (rate * mean) / (Math.sqrt(square) + 1e-8);
  });
}

/** ||a - b|| / ||b||. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const of = (values: Iterable<number>): number => Math.hypot(...values);
  return of(Array.from(b, (value, i) => a[i]! - value)) / of(Array.from(b));
}

/** x y^T for matrices of as many columns. */
export function timesTransposed(x: Matrix, y: Matrix): Matrix {
  return x.map((row) => y.map((other) => row.reduce((sum, value, i) => sum + value * other[i]!, 0)));
}

export function transposed(x: Matrix): Matrix {
  return x[0]!.map((_, column) => x.map((row) => row[column]!));
}

export function times(x: Matrix, y: Matrix): Matrix {
  return timesTransposed(x, transposed(y));
}

/** Entry by entry. */
export function combined(x: Matrix, y: Matrix, of: (a: number, b: number) => number): Matrix {
  return x.map((row, i) => row.map((value, j) => of(value, y[i]![j]!)));
}
