/**
 * This package against transformers + peft in Python, on the same machine in one go: same checkpoint (random weights of a published
 * shape), adapter, batches, precision, dropout rates and thread count, the two in alternation. Prints tables; ratios are the peer's time
 * over this side's, medians over rounds with the least and the most. Linux.
 *
 *     npm run benchmark -- peer [--models t5-small,t5-base,qwen-0.5b] [--types float32,bfloat16] [--rounds 5]
 *         [--only step,evaluation,memory,startup] [--batch 8] [--equal-lengths] [--threads N] [--torch-compile] [--profile]
 *         [--records 48] [--evaluation-batch 16] [--new-tokens 4] [--json FILE]
 *     npm run benchmark -- peer --models t5-small --only run [--data DIR] [--tasks 4] [--train-records 200] [--test-records 100]
 *         [--epochs 1] [--run-rounds 1] [--run-evaluation published|batched|both]
 *     npm run benchmark -- peer --models t5-base --only method,cycles
 *
 * Batches have inputs of 40 to 200 tokens and answers of 4 to 12 (T5: targets; decoder: the only labels). The peer pads to the batch's
 * longest and computes in bfloat16 the faster of two ways: autocast, or the base loaded in it; `--torch-compile` tries both compiled too.
 * The evaluation answers records as long as the batches' in a few tokens, as class labels have them: random weights never end an answer.
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
 * RKIF_PYTHON names a Python with torch, transformers and peft; else pip installs them into the cache. Checkpoints (0.2 to 1 GB each)
 * are kept in the cache as well. The decoder in fp32 takes 15 GiB of memory.
 */
import { writeFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { checkpointOf, modelNames } from "./peer/checkpoints.js";
import type { GenerateAnswer, RunEvaluation, Type } from "./peer/protocol.js";
import { generateRequest, measureEvaluation } from "./peer/evaluation.js";
import { measureCycles } from "./peer/cycles.js";
import { mostTasks } from "./peer/made-tasks.js";
import { measureMemory } from "./peer/memory.js";
import { measureMethods } from "./peer/method.js";
import { measureProfile } from "./peer/profile.js";
import { findPython } from "./peer/python.js";
import { measureRun, type RunOptions } from "./peer/run.js";
import type { Setting } from "./peer/setting.js";
import { measureStartup } from "./peer/startup.js";
import { measureStep, stepOn } from "./peer/step.js";
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
import { fastestWay, waysOf } from "./peer/ways.js";

const types: readonly Type[] = ["float32", "bfloat16"];
const usual = ["step", "evaluation", "memory", "startup"] as const;
const parts = [...usual, "run", "method", "cycles"] as const;

const { values } = parseArgs({
  options: {
    models: { type: "string", default: modelNames.join(",") },
    types: { type: "string", default: types.join(",") },
    rounds: { type: "string", default: "5" },
    only: { type: "string", default: usual.join(",") },
    batch: { type: "string", default: "8" },
    records: { type: "string", default: "48" },
    "evaluation-batch": { type: "string", default: "16" },
    "new-tokens": { type: "string", default: "4" },
    threads: { type: "string", default: String(availableParallelism()) },
    "equal-lengths": { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
    "torch-compile": { type: "boolean", default: false },
    data: { type: "string" },
    tasks: { type: "string", default: String(mostTasks) },
    "train-records": { type: "string", default: "200" },
    "test-records": { type: "string", default: "100" },
    epochs: { type: "string", default: "1" },
    "run-rounds": { type: "string", default: "1" },
    "run-evaluation": { type: "string", default: "published" },
    json: { type: "string" },
  },
});
const chosen = new Set(oneOf("only", values.only, parts));
const models = oneOf("models", values.models, modelNames);
const chosenTypes = oneOf("types", values.types, types);
const numbers = {
  rounds: wholeNumber("rounds", values.rounds),
  batchSize: wholeNumber("batch", values.batch),
  threads: wholeNumber("threads", values.threads),
  records: wholeNumber("records", values.records),
  evaluationBatch: wholeNumber("evaluation-batch", values["evaluation-batch"]),
  newTokens: wholeNumber("new-tokens", values["new-tokens"]),
};
const runOptions: RunOptions = {
  data: values.data ?? null,
  count: tasksWanted(values.tasks),
  trainRecords: wholeNumber("train-records", values["train-records"]),
  testRecords: wholeNumber("test-records", values["test-records"]),
  epochs: wholeNumber("epochs", values.epochs),
  rounds: wholeNumber("run-rounds", values["run-rounds"]),
  evaluations: evaluationsWanted(values["run-evaluation"]),
};

/** Cycles are this side's alone. */
const needsPeer = [...chosen].some((part) => part !== "cycles");
const python = needsPeer ? await findPython(progress) : { program: "", versions: {} };
const load = loadavg()[0]!;
const machine = {
  processor: cpus()[0]?.model ?? "unknown",
  processors: availableParallelism(),
  memory: totalmem(),
  load,
  versions: python.versions,
};
say(
  `${machine.processor}, ${numbers.threads} of ${machine.processors} processors, ${(machine.memory / 2 ** 30).toFixed(0)} GiB, ` +
    `load ${load.toFixed(1)} before; ` +
    Object.entries(python.versions)
      .map((each) => each.join(" "))
      .join(", "),
);
const lengths = values["equal-lengths"] ? "all of 120 tokens" : "of 40-200 tokens";
say(`batches of ${numbers.batchSize} records, ${lengths}; ${numbers.rounds} rounds`);

if (load > machine.processors / 2) {
  say(`others keep the machine busy: threads then wait for each other, on both sides; ratios say little`);
}

const results: Measured[] = [];
for (const model of models) {
  const checkpoint = await checkpointOf(model, progress);
  for (const type of chosenTypes) {
    const equalLengths = values["equal-lengths"];
    results.push(
      await measure({ model, type, checkpoint, python: python.program, equalLengths, ...numbers }),
    );
    await save();
  }
}
if (chosen.has("step")) say(stepTable(results));
if (values.profile) say(profileTable(results));
if (chosen.has("evaluation")) say(evaluationTable(results));
if (chosen.has("memory")) say(memoryTable(results));
if (chosen.has("startup")) say(startupTable(results));
if (chosen.has("method")) say(methodTable(results));
if (chosen.has("run")) say(runTable(results));
if (chosen.has("cycles")) say(cyclesTable(results));

/** After every model and type: what takes an hour shall leave something where it is stopped. */
async function save(): Promise<void> {
  if (values.json === undefined) return;
  await writeFile(values.json, `${JSON.stringify({ machine, options: values, results }, null, 1)}\n`);
}

async function measure(setting: Setting): Promise<Measured> {
  const { model, type } = setting;
  const options = { torchCompile: values["torch-compile"], say: progress };
  const training = needsPeer
    ? await fastestWay(setting, (peer, i) => stepOn(peer, setting, i), options)
    : { way: waysOf(type, false)[0]!, trials: [] };
  const measured: Measured = { model, type, ...training };
  if (chosen.has("step") || chosen.has("method")) {
    progress(`${model} ${type}: training steps`);
    measured.step = await measureStep(setting, measured.way);
  }
  if (values.profile) {
    progress(`${model} ${type}: where a step's time goes`);
    measured.profile = await measureProfile(setting);
  }
  if (chosen.has("method")) {
    progress(`${model} ${type}: the method's own work`);
    measured.method = await measureMethods(setting, measured.step!);
  }
  if (chosen.has("evaluation") || chosen.has("memory")) {
    // Not compiled: generation changes its shapes with every token.
    const ask = generateRequest(setting, setting.evaluationBatch);
    const generating = await fastestWay(
      setting,
      async (peer) => (await peer.request<GenerateAnswer>(ask)).seconds,
      { torchCompile: false, say: progress },
    );
    if (chosen.has("evaluation")) {
      progress(`${model} ${type}: evaluation`);
      measured.evaluation = await measureEvaluation(setting, generating.way);
    }
    if (chosen.has("memory")) {
      progress(`${model} ${type}: memory`);
      measured.memory = await measureMemory(setting, { step: measured.way, evaluation: generating.way });
    }
  }
  if (chosen.has("startup")) {
    progress(`${model} ${type}: start-up`);
    measured.startup = await measureStartup(setting, measured.way);
  }
  if (chosen.has("run")) {
    progress(`${model} ${type}: whole runs`);
    measured.run = await measureRun(setting, measured.way, runOptions);
  }
  if (chosen.has("cycles")) {
    progress(`${model} ${type}: cycles after some tasks`);
    measured.cycles = await measureCycles(setting);
  }
  return measured;
}

function oneOf<T extends string>(option: string, given: string, known: readonly T[]): T[] {
  const names = given.split(",");
  const unknown = names.find((name) => !known.includes(name as T));
  if (unknown === undefined) return names as T[];
  throw new Error(`--${option} ${unknown}: expected ${known.join(", ")}, with commas between`);
}

function wholeNumber(option: string, given: string): number {
  const number = Number(given);
  if (Number.isSafeInteger(number) && number >= 1) return number;
  throw new Error(`--${option} ${given}: expected a whole number of at least 1`);
}

function tasksWanted(given: string): number {
  const count = wholeNumber("tasks", given);
  if (count <= mostTasks) return count;
  throw new Error(`--tasks ${given}: order 4 has ${mostTasks} tasks`);
}

function evaluationsWanted(given: string): readonly RunEvaluation[] {
  const known = new Map<string, readonly RunEvaluation[]>([
    ["published", ["published"]],
    ["batched", ["batched"]],
    ["both", ["published", "batched"]],
  ]);
  const wanted = known.get(given);
  if (wanted !== undefined) return wanted;
  throw new Error(`--run-evaluation ${given}: expected ${[...known.keys()].join(", ")}`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}
