/**
 * This side of the method's own work: the method as a run calls it, on a model whose gradients are given instead of computed, less the
 * time of the same steps without the method. So importance, which the optimizer's pass measures, counts as well.
 */
import { join } from "node:path";
import { recurrentKif } from "../../../lib/methods/recurrent-kif.js";
import { createVector } from "../../../lib/models/kernels.js";
import { elementCount } from "../../../lib/models/element-count.js";
import { embeddedModel, loadModel } from "../../../lib/models/trained-model.js";
import { loadAddon } from "../../../lib/native/load.js";
import type { Batches, CycleReport, TrainingRecord } from "../../../lib/methods/run.js";
import type { Model, TensorLayout, Vector } from "../../../lib/native/contract.js";
import { TaskRun } from "../../../lib/training/task-run.js";
import { newTaskCounters } from "../../../lib/training/task-state.js";
import { readVectors, writeResults } from "./method-vectors.js";
import {
  learningRate,
  lora,
  maxGradNorm,
  type Device,
  type MethodAnswer,
  type MethodRequest,
} from "./protocol.js";
import { median } from "./ratios.js";

/** No model looks at it; a batch has to have a label. */
const record: TrainingRecord = { inputIds: Int32Array.of(2), labels: Int32Array.of(1), key: 0 };

export async function methodHere(request: MethodRequest): Promise<MethodAnswer> {
  const { threads, device, folder, cycles, results } = request;
  const beside = await vectorOn(device);
  loadAddon().setThreads(threads);
  const given = await readVectors(folder);
  const model = fakeModel(request.shapes, given, beside);
  if (results !== null) {
    await learn(model, { ...request, cycles: 1 }, async ({ importance }) => {
      const loops = [importance!.in, importance!.out];
      const averages = loops.flatMap((loop) => [loop.importance, loop.uncertainty]);
      const vectors = [model.parameters, ...averages].map((vector) => vector.read());
      await writeResults(join(folder, results), await Promise.all(vectors));
    });
  }
  const withMethod = await timesOf(model, cycles, (ended) =>
    learn(model, { ...request, cycles: cycles + 1 }, ended),
  );
  const without = await timesOf(model, cycles, (ended) => onlySteps(model, request, ended));
  const seconds = median(withMethod) - median(without);
  if (seconds > 0) return { seconds };
  throw new Error(
    `the method's work in a cycle is lost in the noise of ${cycles} cycles; ask for more elements`,
  );
}

/** A vector on the device, for others to be made beside it. */
async function vectorOn(device: Device): Promise<Vector | undefined> {
  if (device === "cpu") return undefined;
  const { model } = await loadModel({
    ...{ model: embeddedModel, device },
    trainable: {
      ...{ kind: "lora", ...lora, rsLora: false, targetModules: null },
      ...{ rankPattern: {}, alphaPattern: {} },
    },
  });
  return model.parameters;
}

/** Seconds of each cycle but the first. */
async function timesOf(
  { parameters }: Model,
  cycles: number,
  work: (ended: () => Promise<void>) => Promise<void>,
): Promise<number[]> {
  const times: number[] = [];
  await work(async () => {
    // A GPU has then done it all.
    await parameters.read(0, 1);
    times.push(performance.now());
  });
  const seconds = times.slice(1).map((time, i) => (time - times[i]!) / 1000);
  if (seconds.length === cycles) return seconds;
  throw new Error(`${seconds.length} cycles were timed; expected ${cycles}`);
}

interface GivenModel extends Model {
  begin(): void;
}

async function learn(
  model: GivenModel,
  { method, cycles }: MethodRequest,
  onCycle: (report: CycleReport) => Promise<void>,
): Promise<void> {
  const run = openRun(model, cycles * method.innerSteps, onCycle);
  await recurrentKif.learn(run, recurrentKif.options.parse(method));
  run.dispose();
}

/** As many steps of both loops, and nothing else. */
async function onlySteps(
  model: GivenModel,
  { method: { innerSteps, outerSteps }, cycles }: MethodRequest,
  ended: () => Promise<void>,
): Promise<void> {
  const run = openRun(model, 0, async () => {});
  const loops = [
    { loop: 0, optimizer: run.optimizer("inner"), steps: innerSteps },
    { loop: 1, optimizer: run.optimizer("outer"), steps: outerSteps },
  ];
  for (let cycle = 0; cycle <= cycles; cycle++) {
    for (const { steps, ...request } of loops)
      for (let step = 0; step < steps; step++)
        await run.step({ ...request, step, batch: [record], learningRate });
    await ended();
  }
  run.dispose();
}

function openRun(model: GivenModel, steps: number, onCycle: (report: CycleReport) => Promise<void>): TaskRun {
  const batches = (count: number): Batches => ({ steps: count, at: () => [record] });
  model.begin();
  return new TaskRun({
    task: { index: 1, name: "vectors" },
    options: {
      ...{ seed: 1, learningRate, warmupSteps: 0, weightDecay: 0, maxGradNorm, microBatchSize: null },
      ...{ selectBestOnDev: false, devEvery: 1 },
    },
    ...{ model, memorySize: 1, devRecords: [], counters: newTaskCounters(), onCycle },
    taskBatches: () => batches(steps),
    memoryBatches: () => batches(Infinity),
  });
}

/** A model of which a run sees vectors, and gradients that are copied in; nothing else of it is called. */
function fakeModel(
  shapes: readonly number[][],
  given: { parameters: Float32Array; gradients: readonly Float32Array[] },
  beside: Vector | undefined,
): GivenModel {
  const layout: TensorLayout[] = [];
  let offset = 0;
  for (const [i, shape] of shapes.entries()) {
    layout.push({ name: `parameter.${i}`, shape, offset });
    offset += elementCount({ shape });
  }
  const filled = (values: Float32Array): Vector => {
    const vector = createVector(offset, beside);
    vector.set(values);
    return vector;
  };
  const sources = given.gradients.map(filled);
  const [parameters, gradients] = [filled(given.parameters), createVector(offset, beside)];
  const model: Pick<GivenModel, "layout" | "parameters" | "gradients" | "accumulate" | "begin"> = {
    ...{ layout, parameters, gradients },
    begin: () => parameters.set(given.parameters),
    accumulate(_batch, { dropout }) {
      gradients.copyFrom(sources[dropout!.step % sources.length]!);
      return Promise.resolve({ lossSum: 1, labelTokens: 1 });
    },
  };
  return model as GivenModel;
}
