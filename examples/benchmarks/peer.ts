/**
 * This package against transformers + peft in Python, on the same machine in one go: same checkpoint (random weights of a published
 * shape), adapter, batches, precision, dropout rates and thread count, the two in alternation. Prints tables; ratios are the peer's time
 * over this side's, medians over rounds with the least and the most. Linux.
 *
 *     npm run benchmark -- peer [--models t5-small,t5-base,qwen-0.5b] [--types float32,bfloat16] [--rounds 5] [--steps 1]
 *         [--only step,evaluation,memory,startup] [--batch 8] [--tokens 40-200] [--equal-lengths] [--gradient-checkpointing]
 *         [--threads N] [--torch-compile] [--compile-limit 600] [--profile]
 *         [--records 48] [--shared-tokens 0] [--evaluation-batch 16] [--new-tokens 4] [--json FILE]
 *     npm run benchmark -- peer --device cuda [--models t5-large,llama-2-7b,llama-2-13b] [--steps 8] [--only step,method,evaluation]
 *     npm run benchmark -- peer --models t5-small --only run [--data DIR] [--tasks 4] [--train-records 200] [--test-records 100]
 *         [--epochs 1] [--run-rounds 1] [--run-evaluation published|batched|both]
 *     npm run benchmark -- peer --models t5-base --only method,cycles
 *
 * Batches have inputs of 40 to 200 tokens and answers of 4 to 12 (T5: targets; decoder: the only labels). The peer pads to the batch's
 * longest; tokens a second count no padding. In bfloat16 it computes in the faster of two ways: on a CPU autocast, or the base loaded in
 * it; on a GPU the base loaded in it, as it is or under autocast. `--torch-compile` tries both compiled too, the faster first, for at most
 * `--compile-limit` seconds together. A round is `--steps` optimizer steps, whose losses are read at its end; a GPU is waited for before and behind it.
 * The evaluation answers records as long as the batches' in a few tokens, as class labels have them: random weights never end an answer.
 * `--shared-tokens` of them are the same in all records, as a task's instruction is: a decoder here computes them once.
 *
 * On a GPU both sides have the base in bfloat16 and the adapter in fp32, and memory is the most that was in tensors at once, with what
 * libtorch's allocator, which both use, took from the card. Batches: 64 records of T5, 16 of LLaMA-2-7B, 8 of 13B.
 *
 * `--profile` also prints where this side's training step spends its time: every operator's own time, added up by kind of work.
 *
 * What only runs when it is named:
 * - run: a whole Recurrent-KIF run (the paper's settings) over the tasks of order 4, all tasks seen evaluated by generation after each, by
 *   the learner of `rkif train` here and with transformers + peft and plain torch operators there; T5 only. The records are random words,
 *   100 test records a task, or the first of those in DIR (train/ and test/, a file a task). Both begin with the same adapter, must compute
 *   the same first loss and make as many steps, cycles, memory records and answers. The peer evaluates as the published code does, one
 *   record at a time (`published`, the default), in batches of --evaluation-batch, or every time in both ways, each of which gets ratios
 *   of its own. Seconds count from the request to a process that runs: loading and tokenizing, not the start of Node or Python. Importance
 *   is part of the optimizer's pass here and counts as training, there as the method's work.
 * - method: milliseconds of the method's own work in a cycle (snapshots, importance, task vectors, thresholds, fusion), for the model's
 *   trainable vector and one of ten million elements, beside the same with torch operators tensor by tensor; both must come to the same
 *   numbers. This side's is what a cycle takes longer than its optimizer steps alone.
 * - cycles: seconds of a cycle when 2, 8 and 15 tasks have been learned, on this side, with what they leave behind.
 *
 * RKIF_PYTHON names a Python with torch, transformers and peft, which then needs no network; else pip installs them into the cache.
 * Checkpoints (0.2 to 3 GB each; LLaMA 13 and 26 GB) are kept in the cache as well. The decoder in fp32 takes 15 GiB of memory.
 */
import { writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import { describeDevice, inspectCuda } from "../../lib/native/cuda.js";
import { checkpointOf } from "./peer/checkpoints.js";
import type { GenerateAnswer } from "./peer/protocol.js";
import { generateRequest, measureEvaluation } from "./peer/evaluation.js";
import { measureCycles } from "./peer/cycles.js";
import { measureMemory } from "./peer/memory.js";
import { measureMethods } from "./peer/method.js";
import { parseOptions, usualBatch } from "./peer/options.js";
import { measureProfile } from "./peer/profile.js";
import { findPython } from "./peer/python.js";
import { measureRun } from "./peer/run.js";
import type { Setting } from "./peer/setting.js";
import { measureStartup } from "./peer/startup.js";
import { disagreement, measureAlone, measureStep, stepsOn } from "./peer/step.js";
import {
  cyclesTable,
  evaluationTable,
  memoryTable,
  methodTable,
  profileTable,
  runTable,
  startupTable,
  stepTable,
  type Measured,
} from "./peer/tables.js";
import { fastestWay, hasFailed, waysOf } from "./peer/ways.js";

const options = parseOptions(process.argv.slice(2));
const { parts: chosen, device, rounds, threads } = options;

/** Cycles are this side's alone. */
const needsPeer = [...chosen].some((part) => part !== "cycles");
const python = needsPeer ? await findPython(progress) : { program: "", versions: {} };
const load = loadavg()[0]!;
const machine = {
  processor: cpus()[0]?.model ?? "unknown",
  processors: availableParallelism(),
  memory: totalmem(),
  load,
  gpu: device === "cuda" ? gpuHere() : null,
  versions: python.versions,
};
say(
  (machine.gpu === null ? "" : `${machine.gpu}; `) +
    `${machine.processor}, ${threads} of ${machine.processors} processors, ${(machine.memory / 2 ** 30).toFixed(0)} GiB, ` +
    `load ${load.toFixed(1)} before; ` +
    Object.entries(python.versions)
      .map((each) => each.join(" "))
      .join(", "),
);
const [least, most] = options.tokens;
say(
  `records of ${options.equalLengths ? "the mean of " : ""}${least}-${most} tokens; ${rounds} rounds of ` +
    `${options.steps} ${options.steps === 1 ? "step" : "steps"}` +
    (options.gradientCheckpointing ? "; layers are computed again in the backward pass" : ""),
);

if (load > machine.processors / 2) {
  say(`others keep the machine busy: threads then wait for each other, on both sides; ratios say little`);
}

const results: Measured[] = [];
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    progress(`stopped by ${signal}: what was measured before`);
    report();
    save();
    process.exit(1);
  });
}
for (const model of options.models) {
  const checkpoint = await checkpointOf(model, progress);
  const batchSize = options.batchSize ?? usualBatch(device, model);
  for (const type of options.types) {
    const { steps, equalLengths, tokens, gradientCheckpointing } = options;
    const { records, sharedTokens, evaluationBatch, newTokens } = options;
    await measure({
      ...{ model, type, device, checkpoint, python: python.program, threads, rounds, steps, batchSize },
      ...{ equalLengths, tokens, gradientCheckpointing, records, sharedTokens, evaluationBatch, newTokens },
    });
  }
}
report();
save();

/** Tables of what has been measured. */
function report(): void {
  if (chosen.has("step")) say(stepTable(results));
  if (options.profile) say(profileTable(results));
  if (chosen.has("evaluation")) say(evaluationTable(results));
  if (chosen.has("memory") || device === "cuda") say(memoryTable(results));
  if (chosen.has("startup")) say(startupTable(results));
  if (chosen.has("method")) say(methodTable(results));
  if (chosen.has("run")) say(runTable(results));
  if (chosen.has("cycles")) say(cyclesTable(results));
}

/** After every part: what takes an hour shall leave something where it is stopped. */
function save(): void {
  if (options.json === null) return;
  const document = { machine, options: { ...options, parts: [...chosen] }, results };
  writeFileSync(options.json, `${JSON.stringify(document, null, 1)}\n`);
}

/** @throws an error that says what is missing for a GPU. */
function gpuHere(): string {
  const { device: card, problems } = inspectCuda();
  if (card !== undefined && problems.length === 0) return describeDevice(card);
  throw new Error(
    `--device cuda: ${problems.map(({ found }) => found).join("; ")}; \`rkif info\` says what helps`,
  );
}

/** Into `results`, part by part. */
async function measure(setting: Setting): Promise<void> {
  const { model, type } = setting;
  const { torchCompile, compileLimit } = options;
  const trials = { torchCompile, compileLimit, say: progress };
  const training = needsPeer
    ? await fastestWay(setting, (peer, i) => stepsOn(peer, setting, i), trials)
    : { way: waysOf(type, { torchCompile: false, device })[0]!, trials: [] };
  if (hasFailed(training.trials)) process.exitCode = 1;
  const measured: Measured = { model, type, batchSize: setting.batchSize, ...training };
  results.push(measured);
  const part = async <K extends keyof Measured>(
    key: K,
    wanted: boolean,
    what: string,
    work: () => Promise<Measured[K]>,
  ): Promise<void> => {
    if (!wanted) return;
    progress(`${model} ${type}: ${what}`);
    try {
      measured[key] = await work();
    } catch (error) {
      // What is measured already, and the other parts, took their time too.
      progress(`${model} ${type}: ${what} failed: ${(error as Error).message}`);
      process.exitCode = 1;
    }
    save();
  };
  const stepWanted = chosen.has("step") || chosen.has("method");
  const { way } = training;
  await part("step", stepWanted && way !== null, "training steps", () => measureStep(setting, way!));
  await part("alone", stepWanted && measured.step === undefined, "training steps of this side alone", () =>
    measureAlone(setting),
  );
  await part("profile", options.profile, "where a step's time goes", () => measureProfile(setting));
  await part("cycles", chosen.has("cycles"), "cycles after some tasks", () => measureCycles(setting));
  if (way === null) return;
  const { step } = measured;
  if (step?.agreement.within === false) {
    progress(`${model} ${type}: ${disagreement(type, step.agreement)}`);
    process.exitCode = 1;
  }
  await part("method", chosen.has("method") && step !== undefined, "the method's own work", () =>
    measureMethods(setting, step!),
  );
  if (chosen.has("evaluation") || chosen.has("memory")) {
    // Not compiled: generation changes its shapes with every token.
    const ask = generateRequest(setting, setting.evaluationBatch);
    const generating = await fastestWay(
      setting,
      async (peer) => (await peer.request<GenerateAnswer>(ask)).seconds,
      { ...trials, torchCompile: false },
    );
    if (hasFailed(generating.trials)) process.exitCode = 1;
    const evaluation = generating.way;
    const works = evaluation !== null;
    await part("evaluation", chosen.has("evaluation") && works, "evaluation", () =>
      measureEvaluation(setting, evaluation!),
    );
    await part("memory", chosen.has("memory") && works, "memory", () =>
      measureMemory(setting, { step: way, evaluation: evaluation! }),
    );
  }
  await part("startup", chosen.has("startup"), "start-up", () => measureStartup(setting, way));
  await part("run", chosen.has("run"), "whole runs", () => measureRun(setting, way, options.run));
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}
