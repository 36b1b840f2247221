/** This side of a whole run, and of cycles after some tasks: with the learner that `rkif train` uses. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { openFormat } from "../../../lib/data/formats/open-format.js";
import { recordsPerClass } from "../../../lib/data/memory.js";
import type { TaskData } from "../../../lib/data/tasks.js";
import { countLabelTokens } from "../../../lib/data/pack.js";
import { Learner } from "../../../lib/training/learner.js";
import type { LearnerEvent } from "../../../lib/training/events.js";
import { RunFolder } from "../../../lib/training/run-folder.js";
import { madeTask, readTasks, wordsOf } from "./made-tasks.js";
import { maxGradNorm, type CyclesAnswer, type CyclesRequest } from "./protocol.js";
import type { RunAnswer, RunRequest } from "./protocol.js";

/** Records whose loss is compared. */
const compared = 8;
/** Labels of the tasks between which cycles are timed. */
const classes = 4;

export async function runHere(request: RunRequest): Promise<RunAnswer> {
  const tasks = await readTasks(request.tasks);
  const watch = new CycleWatch();
  const started = performance.now();
  const learner = await openLearner(request, watch);
  const loaded = performance.now();
  const firstLoss = await lossOfFirst(learner, tasks[0]!);
  const learning = performance.now();
  await learner.learnAll(tasks);
  const { steps, trainSeconds, evaluateSeconds } = learner.spent;
  await learner.dispose();
  const ended = performance.now();
  const method = watch.ownSeconds;
  return {
    seconds: {
      total: (loaded - started + (ended - learning)) / 1000,
      training: trainSeconds - method,
      ...{ method, evaluation: evaluateSeconds },
    },
    ...{ steps, cycles: watch.cycles.length, answered: watch.answered, finite: watch.finite },
    ...{ memory: await memorySizes(request.run, tasks), firstLoss },
  };
}

/** The tasks before those timed are short: what counts is what they leave behind. */
export async function cyclesHere(request: CyclesRequest): Promise<CyclesAnswer> {
  const { batchSize, learned, cycles, folder, run } = request;
  const watch = new CycleWatch();
  const learner = await openLearner({ ...request, newTokens: 1, epochs: 1, memoryFraction: 0.02 }, watch);
  const words = await wordsOf(folder);
  const stepsOfCycle = Number(learner.config["innerSteps"]);
  const tasks: TaskData[] = [];
  const seconds: number[][] = [];
  for (let number = 0; number <= learned.at(-1)!; number++) {
    const timed = learned.includes(number);
    const short = Math.max(2 * batchSize, recordsPerClass * classes);
    // Records of one length, so that cycles differ in nothing but the tasks before.
    const task = madeTask(`task-${number}`, {
      ...{ number, words, classes, tokens: [120, 120], test: 1 },
      train: timed ? (cycles + 1) * stepsOfCycle * batchSize : short,
    });
    tasks.push(task);
    watch.cycles.length = 0;
    await learner.learn(task);
    if (timed) seconds.push(watch.cycles.slice(1));
  }
  await learner.dispose();
  const sizes = await memorySizes(run, tasks);
  const total = (count: number): number => sizes.slice(0, count).reduce((sum, size) => sum + size, 0);
  return { seconds, memory: learned.map(total) };
}

type Wanted = Pick<RunRequest, "folder" | "adapter" | "threads" | "device" | "type" | "run" | "batchSize"> &
  Pick<RunRequest, "epochs" | "newTokens" | "memoryFraction" | "gradientCheckpointing"> &
  Partial<Pick<RunRequest, "learningRate" | "warmupSteps" | "sourceTokens" | "targetTokens" | "method">>;

async function openLearner(wanted: Wanted, watch: CycleWatch): Promise<Learner> {
  const { folder, adapter, threads, device, type, run, batchSize, epochs, memoryFraction, newTokens } =
    wanted;
  const { learningRate, warmupSteps, sourceTokens, targetTokens, method } = wanted;
  return Learner.create(
    {
      ...{ run, model: folder, adapter, threads, device, baseType: type, method: "recurrent-kif", ...method },
      gradientCheckpointing: wanted.gradientCheckpointing,
      ...{ batchSize, epochs, memoryFraction, maxGradNorm, maxNewTokens: newTokens },
      ...(learningRate === undefined ? {} : { learningRate, warmupSteps, sourceTokens, targetTokens }),
      // As published: only tasks that have been seen are evaluated.
      measureForwardTransfer: false,
      // The peer tokenizes in every run.
      tokenCache: null,
    },
    { onEvent: (event) => watch.on(event) },
  );
}

async function lossOfFirst({ model, config }: Learner, { train }: TaskData): Promise<number> {
  const { sourceTokens, targetTokens } = config;
  const format = await openFormat(model, { sourceTokens, targetTokens });
  const { records } = await format.encode(train.slice(0, compared));
  const sums = await model.model.loss(format.pack(records));
  return sums.reduce((total, sum) => total + sum, 0) / countLabelTokens(records);
}

async function memorySizes(run: string, tasks: readonly TaskData[]): Promise<number[]> {
  const folder = new RunFolder(run);
  const files = tasks.map(({ name }, i) => join(folder.task(i, name), "memory.jsonl"));
  const texts = await Promise.all(files.map((file) => readFile(file, "utf8")));
  return texts.map((text) => text.split("\n").filter((line) => line !== "").length);
}

/** Times cycles by what the learner tells. */
class CycleWatch {
  /** Seconds of each, since the one before or the task's start. */
  readonly cycles: number[] = [];
  /** Of all cycles: between their last step and their end, where task vectors, thresholds and the fusion are computed. */
  ownSeconds = 0;
  answered = 0;
  finite = true;
  #lastStep = 0;
  #lastCycle = 0;

  on(event: LearnerEvent): void {
    const now = performance.now();
    if (event.event === "task-start") this.#lastCycle = now;
    if (event.event === "step") {
      this.#lastStep = now;
      this.finite &&= event.loss !== null && event.applied;
    }
    if (event.event === "cycle") {
      this.cycles.push((now - this.#lastCycle) / 1000);
      this.ownSeconds += (now - this.#lastStep) / 1000;
      this.#lastCycle = now;
    }
    if (event.event === "evaluation") this.answered += event.total;
  }
}
