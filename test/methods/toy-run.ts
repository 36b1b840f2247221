import type { Method } from "../../lib/methods/method.js";
import type {
  Batches,
  CycleReport,
  Json,
  Run,
  StepRequest,
  StepResult,
  TrainingRecord,
} from "../../lib/methods/run.js";
import { createVector, updateImportance } from "../../lib/models/kernels.js";
import type { TensorLayout, Vector } from "../../lib/native/contract.js";
import { RecordedRun } from "./recorded-run.js";

/** Two adapters of rank 2: on a layer of 4 inputs and 3 outputs, and on one of 3 and 2. */
export const tensors: readonly TensorLayout[] = [
  { name: "base_model.model.q.lora_A.weight", shape: [2, 4], offset: 0 },
  { name: "base_model.model.q.lora_B.weight", shape: [3, 2], offset: 8 },
  { name: "base_model.model.v.lora_A.weight", shape: [2, 3], offset: 14 },
  { name: "base_model.model.v.lora_B.weight", shape: [2, 2], offset: 20 },
];
export const LENGTH = 24;
export const recordsPerTask = 6;
export const learningRate = 0.05;
export const warmupSteps = 3;

/** Where a record pulls the parameters to, and how hard, by element. */
const target = (key: number, i: number): number => Math.sin(1.7 * key + 0.9 * i);
const stiffness = (key: number, i: number): number => 1 + 0.8 * Math.cos(0.31 * key + 2.1 * i);

/** Mean over records of half the weighted squared distance from the points that the records pull to. */
export function lossAt(theta: ArrayLike<number>, keys: readonly number[]): number {
  let sum = 0;
  for (const key of keys) {
    for (let i = 0; i < LENGTH; i++) sum += (stiffness(key, i) * (theta[i]! - target(key, i)) ** 2) / 2;
  }
  return sum / keys.length;
}

export function gradientAt(theta: ArrayLike<number>, keys: readonly number[]): number[] {
  return Array.from({ length: LENGTH }, (_, i) =>
    keys.reduce((sum, key) => sum + (stiffness(key, i) * (theta[i]! - target(key, i))) / keys.length, 0),
  );
}

/** Keys of a task's records, and of the two in each of its batches. */
export const recordKeys = (task: number): number[] =>
  Array.from({ length: recordsPerTask }, (_, i) => 100 * task + i);
export const taskKeys = (task: number, step: number): number[] =>
  [2 * step, 2 * step + 1].map((i) => 100 * task + (i % recordsPerTask));
/** Of a batch from the memory: the first two records of every earlier task, in a loop's own order. */
export function memoryKeys(task: number, loop: number, step: number): number[] {
  const memory = Array.from({ length: 2 * task }, (_, i) => 100 * Math.floor(i / 2) + (i % 2));
  return [0, 1].map((i) => memory[(3 * step + 5 * loop + i) % memory.length]!);
}

/** Learning rate: up from 0 over the warm-up, down to 0 at `total`, by straight lines through two points. */
export function rateAt(step: number, total: number, base: number = learningRate): number {
  if (step < warmupSteps) return (step / warmupSteps) * base;
  return ((total - step) / (total - warmupSteps)) * base;
}

const momentum = 0.5;

/** Gradient descent with momentum: what stands for AdamW, so that it shows which steps share an optimizer. */
export class Descent {
  readonly #velocity = new Array<number>(LENGTH).fill(0);

  step(theta: ArrayLike<number>, gradient: ArrayLike<number>, rate: number): number[] {
    return Array.from({ length: LENGTH }, (_, i) => {
      this.#velocity[i] = momentum * this.#velocity[i]! + gradient[i]!;
      return theta[i]! - rate * this.#velocity[i];
    });
  }
}

/** First parameters. */
export const beginning = (): number[] => Array.from({ length: LENGTH }, (_, i) => 0.3 * Math.cos(i));

/** Told what a method reports, with the run as it stands then. */
export interface ToyListener {
  onStep?(result: StepResult, run: Run): Promise<void> | void;
  onCycle?(report: CycleReport, run: Run): Promise<void> | void;
}

/** A run on records that each pull the parameters to a point. */
class ToyRun extends RecordedRun {
  override readonly task: Run["task"];
  override readonly learningRate = learningRate;
  override readonly warmupSteps = warmupSteps;
  override readonly gradients: Vector = createVector(LENGTH);
  override readonly tensors = tensors;
  override readonly taskRecords: readonly TrainingRecord[];
  readonly #vectors = new Map<string, Vector>();
  readonly #descents = new Map<string, Descent>();

  constructor(
    index: number,
    steps: number,
    override readonly parameters: Vector,
    readonly keptThings: { vectors: Map<string, Vector>; state: { [key: string]: Json } | undefined },
    readonly listener: ToyListener,
  ) {
    super({ task: steps, withMemory: steps, memory: 2 * index });
    this.task = { index, name: `task ${index}` };
    this.taskRecords = recordsOf(recordKeys(index));
  }

  override taskBatches(): Batches {
    return { steps: this.planned.task, at: (step) => recordsOf(taskKeys(this.task.index, step)) };
  }

  override memoryBatches({ loop }: { loop: number } = { loop: 0 }): Batches {
    return { steps: Infinity, at: (step) => recordsOf(memoryKeys(this.task.index, loop, step)) };
  }

  override vector(name: string): Vector {
    return named(this.#vectors, name);
  }

  override keptVector(name: string): Vector {
    return named(this.keptThings.vectors, name);
  }

  override keptState<T extends { [key: string]: Json }>(initial: T): T {
    return (this.keptThings.state ??= initial) as T;
  }

  override async gradientOf(batch: readonly TrainingRecord[] = []): Promise<number> {
    const theta = await this.parameters.read();
    this.gradients.set(Float32Array.from(gradientAt(theta, keysOf(batch))));
    return lossAt(theta, keysOf(batch));
  }

  override async lossOf(batch: readonly TrainingRecord[] = []): Promise<number> {
    return lossAt(await this.parameters.read(), keysOf(batch));
  }

  override async step(request: StepRequest): Promise<void> {
    const { batch, optimizer, learningRate: rate, importance } = request;
    const loss = await this.gradientOf(batch);
    const penalty = await request.penalty?.(this.gradients);
    if (importance)
      updateImportance(importance.into, this.parameters, this.gradients, importance.into.options);
    const descent = this.#descents.get(optimizer.name) ?? new Descent();
    this.#descents.set(optimizer.name, descent);
    const moved = descent.step(await this.parameters.read(), await this.gradients.read(), rate);
    this.parameters.set(Float32Array.from(moved));
    const result = { loss, gradNorm: 1, applied: true, ...(typeof penalty === "number" ? { penalty } : {}) };
    await this.listener.onStep?.(result, this);
  }

  override async cycle(report: CycleReport): Promise<void> {
    await this.listener.onCycle?.(report, this);
  }
}

/** Learns tasks in a row; the parameters after each. */
export async function learnToys(
  method: Method,
  options: Parameters<Method["learn"]>[1],
  { tasks = 3, steps, ...listener }: { tasks?: number; steps: number } & ToyListener,
): Promise<Float32Array[]> {
  const parameters = createVector(LENGTH);
  parameters.set(Float32Array.from(beginning()));
  const kept = { vectors: new Map<string, Vector>(), state: undefined };
  const results: Float32Array[] = [];
  for (let index = 0; index < tasks; index++) {
    const run = new ToyRun(index, steps, parameters, kept, listener);
    await method.learn(run, options);
    await method.consolidate?.(run, options);
    results.push(await parameters.read());
  }
  return results;
}

/** Largest difference between two series of parameters. */
export function farthest(a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): number {
  if (a.length !== b.length) return Infinity;
  return Math.max(...a.flatMap((values, t) => Array.from(values, (value, i) => Math.abs(value - b[t]![i]!))));
}

function recordsOf(keys: readonly number[]): TrainingRecord[] {
  const none = new Int32Array();
  return keys.map((key) => ({ inputIds: none, labels: none, key }));
}

function keysOf(batch: readonly TrainingRecord[]): number[] {
  return batch.map(({ key }) => key);
}

function named(vectors: Map<string, Vector>, name: string): Vector {
  const vector = vectors.get(name) ?? createVector(LENGTH);
  vectors.set(name, vector);
  return vector;
}
