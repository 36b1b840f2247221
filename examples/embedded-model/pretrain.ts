/**
 * Pre-trains the embedded model from random weights on the text that lib/demo writes, and saves it as models/embedded. The same
 * seed on the same machine with the same number of threads gives the same file.
 *
 *     npx tsx examples/embedded-model/make-tokenizer.ts
 *     npx tsx examples/embedded-model/pretrain.ts [--steps 8000] [--seed 1] [--threads 1] [--out models/embedded]
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { EncodedRecord } from "../../lib/data/formats/record-format.js";
import { TextToText } from "../../lib/data/formats/text-to-text.js";
import { countLabelTokens, pack } from "../../lib/data/pack.js";
import { pretrainingRecords, sentinel, type PretrainingRecord } from "../../lib/demo/pretraining.js";
import { learningRateAt } from "../../lib/methods/schedule.js";
import { Tokenizer } from "../../lib/models/tokenizer.js";
import type { Addon, Model, T5Config } from "../../lib/native/contract.js";
import { loadAddon } from "../../lib/native/load.js";
import { configJson, END_TOKEN, randomCheckpoint, SHAPE } from "./shape.js";

const EMBEDDED = fileURLToPath(new URL("../../models/embedded", import.meta.url));
const BATCH = 32;
const LEARNING_RATE = 1e-3;
const WARMUP_STEPS = 200;
const REPORT_EVERY = 250;
/** Held-out records are numbered from here on, far beyond what training draws. */
const HELD_OUT_FROM = 2 ** 30;
const HELD_OUT = 400;

const { values: given } = parseArgs({
  options: {
    steps: { type: "string", default: "8000" },
    seed: { type: "string", default: "1" },
    threads: { type: "string", default: "1" },
    out: { type: "string", default: EMBEDDED },
  },
});
const steps = Number(given.steps);
const seed = Number(given.seed);

const tokenizer = await Tokenizer.open(EMBEDDED);
const shape: T5Config = { ...SHAPE, vocabSize: tokenizer.size };
const addon = loadAddon();
addon.setThreads(Number(given.threads));
const model = await loadRandomModel(addon, shape);
const moments = {
  m: addon.createVector(model.parameters.length),
  v: addon.createVector(model.parameters.length),
};
const heldOut = pretrainingRecords(seed, HELD_OUT, HELD_OUT_FROM);
const heldOutEncoded = await encode(heldOut);
process.stderr.write(
  `${model.parameters.length} parameters, ${tokenizer.size} tokens, ${steps} steps of ${BATCH}\n`,
);

const started = performance.now();
let lossSum = 0;
let labelTokens = 0;
for (let step = 0; step < steps; step++) {
  const records = await encode(pretrainingRecords(seed, BATCH, step * BATCH));
  model.gradients.fill(0);
  const loss = await model.accumulate(pack(records), {
    divisor: countLabelTokens(records),
    lossScale: 1,
    dropout: { seed, task: 0, loop: 0, step },
  });
  const report = await addon.adamwStep(
    { parameters: model.parameters, gradients: model.gradients, ...moments },
    {
      // From rate 0 on, the first update would be wasted.
      learningRate: learningRateAt(step + 1, {
        base: LEARNING_RATE,
        warmupSteps: WARMUP_STEPS,
        totalSteps: steps + 1,
      }),
      update: step + 1,
      beta1: 0.9,
      beta2: 0.98,
      epsilon: 1e-8,
      weightDecay: 0.01,
      maxGradNorm: 1,
    },
  );
  if (!report.applied) {
    throw new Error(`step ${step}: ${report.nonFinite} gradients are not finite`);
  }
  lossSum += loss.lossSum;
  labelTokens += loss.labelTokens;
  if ((step + 1) % REPORT_EVERY === 0 || step + 1 === steps) {
    const { answers, spans } = await heldOutAccuracy(model);
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    process.stderr.write(
      `step ${step + 1}: loss ${(lossSum / labelTokens).toFixed(3)}, held-out answers ${answers.toFixed(1)} %, ` +
        `hidden spans ${spans.toFixed(1)} %, ${seconds} s\n`,
    );
    lossSum = labelTokens = 0;
  }
}
await save(given.out);

async function encode(records: readonly PretrainingRecord[]): Promise<EncodedRecord[]> {
  return (await new TextToText(tokenizer, { endTokenId: END_TOKEN }).encode(records)).records;
}

/** A model of random weights in which everything trains. */
async function loadRandomModel(addon: Addon, config: T5Config): Promise<Model> {
  const folder = await mkdtemp(join(tmpdir(), "rkif-pretrain-"));
  try {
    const file = join(folder, "model.safetensors");
    await addon.writeSafetensors(file, randomCheckpoint(config, seed));
    return await addon.loadModel({
      family: "t5",
      config,
      files: [file],
      baseType: "float32",
      trainable: { kind: "full" },
      copyWeights: true,
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Percentages of held-out records whose every token is right, questions and hidden spans apart. */
async function heldOutAccuracy(model: Model): Promise<{ answers: number; spans: number }> {
  const { inputIds, inputLengths } = pack(heldOutEncoded);
  const generated = await model.generate({
    inputIds,
    inputLengths,
    maxNewTokens: 24,
    endTokenIds: [END_TOKEN],
  });
  const right = generated.map((ids, n) => ids.join() === heldOutEncoded[n]?.labels.join());
  const percentage = (kind: (record: PretrainingRecord) => boolean): number => {
    const ofKind = right.filter((_, n) => kind(heldOut[n] as PretrainingRecord));
    return (100 * ofKind.filter(Boolean).length) / Math.max(1, ofKind.length);
  };
  const isSpan = ({ output }: PretrainingRecord): boolean => output.startsWith(sentinel(0));
  return { answers: percentage((record) => !isSpan(record)), spans: percentage(isSpan) };
}

async function save(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const tensors = model.layout.map(({ name, shape: dimensions, offset }) => ({
    name,
    shape: dimensions,
    type: "BF16" as const,
    from: model.parameters,
    offset,
  }));
  await addon.writeSafetensors(join(folder, "model.safetensors"), tensors, { format: "pt" });
  await writeFile(join(folder, "config.json"), JSON.stringify(configJson(shape), null, 2) + "\n");
}
