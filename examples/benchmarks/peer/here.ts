/** This side: answers requests (protocol.ts) on stdin, one JSON document a line, with the steps that a run makes. */
import { createInterface } from "node:readline";
import { countLabelTokens, pack } from "../../../lib/data/pack.js";
import type { TrainingRecord } from "../../../lib/methods/run.js";
import { adamwStep, createVector } from "../../../lib/models/kernels.js";
import { loadModel } from "../../../lib/models/trained-model.js";
import type { Model, Vector } from "../../../lib/native/contract.js";
import type { Batch } from "./batches.js";
import {
  learningRate,
  lora,
  maxGradNorm,
  type CheckAnswer,
  type LoadRequest,
  type Request,
  type StepAnswer,
} from "./protocol.js";

interface Loaded {
  model: Model;
  vectors: Record<"m" | "v" | "importance" | "uncertainty", Vector>;
  updates: number;
}
let loaded: Loaded | undefined;

for await (const line of createInterface(process.stdin)) {
  const answer = await answerTo(JSON.parse(line) as Request).catch((error: unknown) => ({
    error: error instanceof Error ? (error.stack ?? error.message) : String(error),
  }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function answerTo(request: Request): Promise<object> {
  if (request.do === "load") return load(request);
  if (loaded === undefined) throw new Error(`${request.do} before load`);
  if (request.do === "check") return check(loaded, request.batch);
  return step(loaded, request.batch);
}

async function load({ folder, adapter, threads, type }: LoadRequest): Promise<object> {
  const { model } = await loadModel({
    ...{ model: folder, adapter, threads, baseType: type },
    trainable: {
      ...{ kind: "lora", ...lora, rsLora: false, targetModules: null },
      ...{ rankPattern: {}, alphaPattern: {} },
    },
  });
  const vector = (): Vector => createVector(model.parameters.length);
  loaded = {
    model,
    vectors: { m: vector(), v: vector(), importance: vector(), uncertainty: vector() },
    updates: 0,
  };
  await model.parameters.read(0, 0);
  return { trainable: model.parameters.length };
}

function recordsOf({ inputIds, labels, firstKey }: Batch): TrainingRecord[] {
  return inputIds.map((ids, i) => ({
    inputIds: Int32Array.from(ids),
    labels: Int32Array.from(labels[i]!),
    key: firstKey + i,
  }));
}

async function check({ model }: Loaded, batch: Batch): Promise<CheckAnswer> {
  const records = recordsOf(batch);
  const divisor = countLabelTokens(records);
  model.gradients.fill(0);
  const { lossSum } = await model.accumulate(pack(records), { divisor, lossScale: 1, dropout: null });
  const gradients = await model.gradients.read();
  return { loss: lossSum / divisor, gradNorm: Math.sqrt(gradients.reduce((sum, g) => sum + g * g, 0)) };
}

/** As a run's step (lib/training/task-run.ts): with the importance that every inner and outer step measures. */
async function step(loaded: Loaded, batch: Batch): Promise<StepAnswer> {
  const { model, vectors } = loaded;
  const records = recordsOf(batch);
  const started = performance.now();
  const divisor = countLabelTokens(records);
  model.gradients.fill(0);
  const dropout = { seed: 42, task: 1, loop: 0, step: loaded.updates };
  const { lossSum } = await model.accumulate(pack(records), { divisor, lossScale: 1, dropout });
  await adamwStep(
    { parameters: model.parameters, gradients: model.gradients, m: vectors.m, v: vectors.v },
    {
      ...{ learningRate, maxGradNorm, update: ++loaded.updates },
      ...{ beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
      importance: {
        ...{ importance: vectors.importance, uncertainty: vectors.uncertainty, reads: "before" },
        ...{ importanceDecay: 0.55, uncertaintyDecay: 0.55 },
      },
    },
  );
  return { loss: lossSum / divisor, seconds: (performance.now() - started) / 1000 };
}
