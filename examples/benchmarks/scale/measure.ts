/**
 * One measurement in a process of its own: `measure.ts logits|cycle FOLDER BASE_TYPE`. Prints a JSON document.
 *
 * logits: from the call of loadModel to the first logits. cycle: one cycle of Recurrent-KIF with an adapter on queries and values.
 */
import type { TrainingRecord } from "../../../lib/methods/run.js";
import { recurrentKif } from "../../../lib/methods/recurrent-kif.js";
import { pack } from "../../../lib/data/pack.js";
import { hash } from "../../../lib/data/random.js";
import { loadModel, type LoadModelOptions, type TrainedModel } from "../../../lib/models/trained-model.js";
import type { BaseType } from "../../../lib/native/contract.js";
import { loadAddon } from "../../../lib/native/load.js";
import { initialAdapter } from "../../../lib/training/initialize.js";
import { TaskRun } from "../../../lib/training/task-run.js";
import { newTaskCounters } from "../../../lib/training/task-state.js";
import { residentMemory, type Resident } from "./memory.js";

export interface FirstLogits extends Resident {
  seconds: number;
  /** Some of the last token's logits, to compare with the other side's. */
  sample: number[];
}

export interface Cycle extends Resident {
  loadSeconds: number;
  innerSeconds: number[];
  outerSeconds: number[];
  cycleSeconds: number;
  losses: number[];
}

const tokensPerRecord = 64;
const recordsPerBatch = 2;
/** T5's targets, and the tokens of a decoder's record that are its answer. */
const labelTokens = 8;
/** Tokens of the small tokenizer, which every published vocabulary is larger than. */
const vocabulary = 900;

/** Ids that the Python side computes in the same way. */
export const tokenAt = (position: number): number => 2 + ((position * 7919) % vocabulary);

const [what, folder, baseType] = process.argv.slice(2) as ["logits" | "cycle", string, BaseType];
// Loading libtorch takes the place of Python's `import torch`: before the clock starts.
await loadAddon().getThreads();
const result = what === "logits" ? await firstLogits() : await cycle();
process.stdout.write(`${JSON.stringify(result)}\n`);

async function load(trainable: LoadModelOptions["trainable"]): Promise<TrainedModel> {
  return loadModel({ model: folder, baseType, trainable });
}

async function firstLogits(): Promise<FirstLogits> {
  const started = performance.now();
  const { model, config } = await load({ kind: "none" });
  const ids = Int32Array.from({ length: tokensPerRecord }, (_, i) => tokenAt(i));
  const labels = config.family === "t5" ? ids.slice(0, labelTokens) : ids;
  const logits = await model.logits(pack([{ inputIds: ids, labels, key: 0 }]));
  const seconds = (performance.now() - started) / 1000;
  const { vocabSize } = config.config;
  const last = logits.subarray(logits.length - vocabSize);
  const sample = Array.from(last.filter((_, i) => i % 100 === 0));
  return { seconds, sample, ...residentMemory() };
}

function records(family: "t5" | "decoder", batch: number): TrainingRecord[] {
  return Array.from({ length: recordsPerBatch }, (_, i) => {
    const key = batch * recordsPerBatch + i;
    const draw = (_: unknown, position: number): number => 2 + (hash(key, position) % vocabulary);
    const inputIds = Int32Array.from({ length: tokensPerRecord }, draw);
    const labels =
      family === "t5"
        ? Int32Array.from({ length: labelTokens }, draw)
        : inputIds.slice().fill(-100, 0, -labelTokens);
    return { inputIds, labels, key };
  });
}

async function cycle(): Promise<Cycle> {
  const started = performance.now();
  const loaded = await load({
    kind: "lora",
    r: 8,
    alpha: 32,
    dropout: 0.05,
    rsLora: false,
    targetModules: null,
    rankPattern: {},
    alphaPattern: {},
  });
  const { model, config } = loaded;
  const { family } = config;
  if (family === "encoder") throw new Error(`${folder} is an encoder; expected a T5 or a decoder`);
  model.parameters.set(initialAdapter(model.layout, 1));
  await model.parameters.read(0, 1);
  const loadSeconds = (performance.now() - started) / 1000;

  const options = recurrentKif.options.parse({});
  const seconds: [number[], number[]] = [[], []];
  const losses: number[] = [];
  let cycles = 0;
  let last = performance.now();
  const run = new TaskRun({
    task: { index: 1, name: "synthetic" },
    options: {
      seed: 1,
      learningRate: 3e-4,
      warmupSteps: 0,
      weightDecay: 0,
      maxGradNorm: 1,
      microBatchSize: null,
      selectBestOnDev: false,
      devEvery: 1,
    },
    model,
    memorySize: options.outerSteps * recordsPerBatch,
    taskBatches: () => ({ steps: options.innerSteps, at: (step) => records(family, step) }),
    memoryBatches: () => ({ steps: Infinity, at: (step) => records(family, 1000 + step) }),
    devRecords: [],
    counters: newTaskCounters(),
    onStep({ loop }, { loss }) {
      const now = performance.now();
      seconds[loop as 0 | 1].push((now - last) / 1000);
      losses.push(loss);
      last = now;
    },
    onCycle() {
      cycles++;
    },
  });
  const begun = performance.now();
  await recurrentKif.learn(run, options);
  await model.parameters.read(0, 1);
  const cycleSeconds = (performance.now() - begun) / 1000;
  if (cycles !== 1 || !losses.every(Number.isFinite)) {
    throw new Error(
      `${cycles} cycles with losses ${losses.join(", ")}; expected one cycle and finite losses`,
    );
  }
  const [innerSeconds, outerSeconds] = seconds;
  return { loadSeconds, innerSeconds, outerSeconds, cycleSeconds, losses, ...residentMemory() };
}
