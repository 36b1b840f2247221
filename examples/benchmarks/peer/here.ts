/** This side: answers requests (protocol.ts) on stdin, one JSON document a line, with the steps that a run makes. */
import { createInterface } from "node:readline";
import { concatenate, countLabelTokens, pack } from "../../../lib/data/pack.js";
import type { TrainingRecord } from "../../../lib/methods/run.js";
import { adamwStep, createStepReports, createVector } from "../../../lib/models/kernels.js";
import { inBatches } from "../../../lib/evaluation/batches.js";
import { generateTokens } from "../../../lib/evaluation/generate.js";
import { loadModel } from "../../../lib/models/trained-model.js";
import type { Model, StepSlot, Vector } from "../../../lib/native/contract.js";
import { loadAddon } from "../../../lib/native/load.js";
import { residentMemory } from "../scale/memory.js";
import type { Batch } from "./batches.js";
import { peakDeviceMemory } from "./device-memory.js";
import {
  learningRate,
  lora,
  maxGradNorm,
  type CheckAnswer,
  type GenerateAnswer,
  type GenerateRequest,
  type LoadAnswer,
  type LoadRequest,
  type MemoryAnswer,
  type ProfileAnswer,
  type Request,
  type ScoreRequest,
  type StepsAnswer,
  type Type,
} from "./protocol.js";

interface Loaded {
  model: Model;
  vectors: Record<"m" | "v" | "importance" | "uncertainty", Vector>;
  updates: number;
  type: Type;
  endTokenIds: number[];
}
/** A run's default. */
const evaluationTokens = 8192;
let loaded: Loaded | undefined;

for await (const line of createInterface(process.stdin)) {
  const answer = await answerTo(JSON.parse(line) as Request).catch((error: unknown) => ({
    error: error instanceof Error ? (error.stack ?? error.message) : String(error),
  }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function answerTo(request: Request): Promise<object> {
  switch (request.do) {
    case "load":
      return load(request);
    // Imported where they are asked for: what they need would count in the memory and start of the others.
    case "run":
      return (await import("./run-here.js")).runHere(request);
    case "cycles":
      return (await import("./run-here.js")).cyclesHere(request);
    case "method":
      return (await import("./method-here.js")).methodHere(request);
    default:
      return answerLoaded(request);
  }
}

type OfLoaded = Exclude<Request, { do: "load" | "run" | "cycles" | "method" }>;

async function answerLoaded(request: OfLoaded): Promise<object> {
  if (loaded === undefined) throw new Error(`${request.do} before load`);
  switch (request.do) {
    case "check":
      return check(loaded, request.batch);
    case "steps":
      return steps(loaded, request.batches);
    case "profile":
      return profile(loaded, request.batches);
    case "generate":
      return answered(loaded, () => generate(loaded!, request));
    case "score":
      return answered(loaded, () => score(loaded!, request));
    case "memory":
      return { peak: residentMemory().peak, device: await peakDeviceMemory() } satisfies MemoryAnswer;
  }
}

async function load(request: LoadRequest): Promise<LoadAnswer> {
  const { folder, adapter, threads, type, device, gradientCheckpointing } = request;
  const { model, endTokenIds } = await loadModel({
    ...{ model: folder, adapter, threads, baseType: type, device, gradientCheckpointing },
    trainable: {
      ...{ kind: "lora", ...lora, rsLora: false, targetModules: null },
      ...{ rankPattern: {}, alphaPattern: {} },
    },
  });
  const vector = (): Vector => createVector(model.parameters.length, model.parameters);
  loaded = {
    model,
    vectors: { m: vector(), v: vector(), importance: vector(), uncertainty: vector() },
    ...{ updates: 0, type, endTokenIds: [...endTokenIds] },
  };
  await finished(model);
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

/** As a run's steps (lib/training/task-run.ts): with the importance that every inner and outer step measures. */
async function steps(loaded: Loaded, batches: readonly Batch[]): Promise<StepsAnswer> {
  const records = batches.map(recordsOf);
  const reports = createStepReports(batches.length, loaded.model.parameters);
  await finished(loaded.model);
  const started = performance.now();
  // Each is given to the device when the one before is under way there, not when it is done.
  for (const [index, batch] of records.entries()) await step(loaded, batch, { reports, index });
  const taken = await reports.take(batches.length);
  await finished(loaded.model);
  const seconds = (performance.now() - started) / 1000;
  reports.dispose();
  if (taken.some(({ applied }) => !applied)) throw new Error("a step's gradient is not finite");
  return { losses: taken.map(({ lossSum }, i) => lossSum / countLabelTokens(records[i]!)), seconds };
}

async function step(loaded: Loaded, records: readonly TrainingRecord[], into: StepSlot): Promise<void> {
  const { model, vectors } = loaded;
  const divisor = countLabelTokens(records);
  model.gradients.fill(0);
  const dropout = { seed: 42, task: 1, loop: 0, step: loaded.updates };
  await model.accumulate(pack(records), { divisor, lossScale: 1, dropout, into });
  adamwStep(
    { parameters: model.parameters, gradients: model.gradients, m: vectors.m, v: vectors.v },
    {
      ...{ learningRate, maxGradNorm, update: ++loaded.updates },
      ...{ beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
      into: into.index === 0 ? into : { ...into, after: into.index - 1 },
      importance: {
        ...{ importance: vectors.importance, uncertainty: vectors.uncertainty, reads: "before" },
        ...{ importanceDecay: 0.55, uncertaintyDecay: 0.55 },
      },
    },
  );
}

/** Settles when a device, too, has done all that was enqueued: one element is read behind it. */
async function finished({ parameters }: Model): Promise<void> {
  await parameters.read(0, 1);
}

async function profile(loaded: Loaded, batches: readonly Batch[]): Promise<ProfileAnswer> {
  const addon = loadAddon();
  addon.startProfile();
  const { seconds } = await steps(loaded, batches);
  return { seconds, operators: await addon.endProfile() };
}

/** As a run evaluates (lib/training/evaluate-learned.ts): in fp32 with the adapter merged, as many tokens at a time. */
async function answered({ model, type }: Loaded, ask: () => Promise<number[][]>): Promise<GenerateAnswer> {
  const started = performance.now();
  const merge = type === "float32";
  if (merge) model.mergeAdapter();
  const answers = await ask();
  if (merge) model.unmergeAdapter();
  return { answers, seconds: (performance.now() - started) / 1000 };
}

async function generate(
  { model, endTokenIds }: Loaded,
  { prompts, newTokens }: GenerateRequest,
): Promise<number[][]> {
  const ids = prompts.map((prompt) => Int32Array.from(prompt));
  const limits = { batchTokens: evaluationTokens };
  const answers = await generateTokens(model, ids, limits, { maxNewTokens: newTokens, endTokenIds });
  return answers.map((answer) => [...answer]);
}

async function score({ model }: Loaded, { prompts, options }: ScoreRequest): Promise<number[][]> {
  const answers = new Array<number[]>(prompts.length);
  const ids = prompts.map((prompt) => Int32Array.from(prompt));
  const optionIds = options.map((option) => Int32Array.from(option));
  const extra = options.reduce((total, option) => total + option.length, 0);
  await inBatches(ids, extra, { batchTokens: evaluationTokens }, async (batch, packed) => {
    const repeated = concatenate(batch.flatMap(() => optionIds));
    const scores = await model.scoreOptions({
      ...packed,
      ...{ optionIds: repeated.ids, optionLengths: repeated.lengths },
      optionPrompts: Int32Array.from(repeated.lengths, (_, i) => Math.floor(i / options.length)),
    });
    batch.forEach((prompt, i) => {
      const own = scores.subarray(i * options.length, (i + 1) * options.length);
      answers[prompt] = options[own.indexOf(Math.max(...own))]!;
    });
  });
  return answers;
}
