import type {
  Batches,
  CycleReport,
  Importance,
  Json,
  Optimizer,
  Run,
  StepRequest,
  TrainingRecord,
} from "../../lib/methods/run.js";
import { createVector, score } from "../../lib/models/kernels.js";
import type {
  ImportanceOptions,
  OrthogonalityOptions,
  TensorLayout,
  Vector,
} from "../../lib/native/contract.js";

export interface RecordedStep {
  loop: number;
  step: number;
  optimizer: string;
  learningRate: number;
  lossScale: number | undefined;
  importance: string | undefined;
  reads: "before" | "after" | undefined;
  /** First record's key: task batches count from 0, those with memory from 1000, memory batches from 2000. */
  batch: number;
}

/** An adapter of rank 2 on one layer of 2 inputs and 3 outputs. */
const tensors: readonly TensorLayout[] = [
  { name: "base_model.model.q.lora_A.weight", shape: [2, 2], offset: 0 },
  { name: "base_model.model.q.lora_B.weight", shape: [3, 2], offset: 4 },
];
const LENGTH = 10;

/** A run that only writes down what a method asks for. A step moves every parameter by `move`. */
export class RecordedRun implements Run {
  readonly task: Run["task"] = { index: 1, name: "task" };
  readonly learningRate: number = 0.01;
  readonly warmupSteps: number = 4;
  readonly parameters: Vector = createVector(LENGTH);
  readonly gradients: Vector = createVector(LENGTH);
  readonly tensors: readonly TensorLayout[] = tensors;
  readonly taskRecords: readonly TrainingRecord[] = [];
  /** What stands for the backward pass of a step: may fill `gradients` and the request's `outputSums`. */
  backward: (request: StepRequest) => void = () => undefined;
  frozenAdapters = 0;
  /** Penalties by adapters that were asked for, in order. */
  readonly penalties: (OrthogonalityOptions | { overlap: number })[] = [];
  readonly steps: RecordedStep[] = [];
  readonly cycles: CycleReport[] = [];
  readonly resets: string[] = [];
  readonly optimizers = new Set<string>();
  saved: { [key: string]: Json } | undefined;
  kept: { [key: string]: Json } | undefined;
  readonly #vectors = new Map<string, Vector>();
  readonly #names = new Map<Importance, string>();

  constructor(
    readonly planned: { task: number; withMemory: number; memory: number },
    public move: (run: RecordedRun) => void = () => undefined,
  ) {}

  get memorySize(): number {
    return this.planned.memory;
  }

  taskBatches({ withMemory = false }: { withMemory?: boolean } = {}): Batches {
    return batches(withMemory ? 1000 : 0, withMemory ? this.planned.withMemory : this.planned.task);
  }

  memoryBatches(): Batches {
    return batches(2000, Infinity);
  }

  keptVector(name: string): Vector {
    return this.vector(`kept ${name}`);
  }

  keptState<T extends { [key: string]: Json }>(initial: T): T {
    return (this.kept ??= initial) as T;
  }

  freezeAdapter(): void {
    this.frozenAdapters++;
  }

  addOrthogonalityGradient(options: OrthogonalityOptions): Promise<number> {
    this.penalties.push(options);
    return Promise.resolve(1);
  }

  addOverlapGradient(overlap: number): Promise<number> {
    this.penalties.push({ overlap });
    return Promise.resolve(1);
  }

  gradientOf(): Promise<number> {
    return Promise.resolve(1);
  }

  lossOf(): Promise<number> {
    return Promise.resolve(1);
  }

  state<T extends { [key: string]: Json }>(initial: T): T {
    return (this.saved ??= initial) as T;
  }

  vector(name: string): Vector {
    const vector = this.#vectors.get(name) ?? createVector(LENGTH);
    this.#vectors.set(name, vector);
    return vector;
  }

  optimizer(name: string): Optimizer {
    this.optimizers.add(name);
    return { name };
  }

  importance(name: string, options: ImportanceOptions): Importance {
    const vectors = {
      importance: this.vector(`${name}.importance`),
      uncertainty: this.vector(`${name}.uncertainty`),
    };
    const importance: Importance = {
      ...vectors,
      options,
      reset: () => void this.resets.push(`${name} before step ${this.steps.length}`),
      score: () => score(vectors),
    };
    this.#names.set(importance, name);
    return importance;
  }

  async step(request: StepRequest): Promise<void> {
    const { loop, step, optimizer, learningRate, lossScale, importance, batch } = request;
    this.steps.push({
      ...{ loop, step, optimizer: optimizer.name, learningRate, lossScale },
      importance: importance && this.#names.get(importance.into),
      reads: importance?.reads,
      batch: batch[0]!.key,
    });
    this.backward(request);
    await request.penalty?.(this.gradients);
    this.move(this);
  }

  cycle(report: CycleReport): Promise<void> {
    this.cycles.push(report);
    return Promise.resolve();
  }
}

function batches(first: number, steps: number): Batches {
  const none = new Int32Array();
  return { steps, at: (step) => [{ inputIds: none, labels: none, key: first + step }] };
}
