import { cp, mkdtemp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configJson, randomCheckpoint, SHAPE } from "../../examples/embedded-model/shape.js";
import { demoTasks } from "../../lib/demo/tasks.js";
import type { TaskData } from "../../lib/data/tasks.js";
import { Tokenizer } from "../../lib/models/tokenizer.js";
import { embeddedModel } from "../../lib/models/trained-model.js";
import { loadAddon } from "../../lib/native/load.js";
import type { ConfigInput } from "../../lib/training/config.js";
import type { LearnerEvent } from "../../lib/training/events.js";
import { Learner } from "../../lib/training/learner.js";

/** A folder that is gone after the tests of the calling block. */
export function temporaryFolder(): { readonly path: string } {
  const folder = { path: "" };
  before(async () => {
    folder.path = await mkdtemp(join(tmpdir(), "rkif-training-"));
  });
  after(() => rm(folder.path, { recursive: true, force: true }));
  return folder;
}

/**
 * Writes a random T5 of one layer with the embedded model's tokenizer: with dropout, so that its counters matter, and small, so
 * that a run takes a second.
 */
export async function writeTinyCheckpoint(folder: string, poison?: number): Promise<string> {
  await mkdir(folder, { recursive: true });
  const { size } = await Tokenizer.open(embeddedModel);
  const shape = { ...SHAPE, vocabSize: size, dModel: 32, dKv: 8, dFf: 64, numLayers: 1, numDecoderLayers: 1, dropoutRate: 0.1 }; // prettier-ignore
  const tensors = randomCheckpoint(shape, 7);
  if (poison !== undefined) (tensors[0]!.from as Float32Array).fill(poison);
  await loadAddon().writeSafetensors(join(folder, "model.safetensors"), tensors);
  await writeFile(join(folder, "config.json"), JSON.stringify(configJson(shape)));
  for (const file of ["tokenizer.json", "tokenizer_config.json"])
    await cp(join(embeddedModel, file), join(folder, file));
  return folder;
}

/** Tasks of 32 training records: 8 steps of 4 an epoch. */
export function smallTasks(count: number = 2): TaskData[] {
  return demoTasks(1, { train: 32, dev: 8, test: 12 }).slice(0, count);
}

/** Options under which a task takes 16 steps on its records, and everything that can vary between runs is on. */
export function settings(model: string, more: ConfigInput = {}): ConfigInput {
  return {
    model,
    epochs: 2,
    batchSize: 4,
    learningRate: 1e-2,
    warmupSteps: 3,
    memoryFraction: 0.2,
    evaluateBy: "score",
    // A few records at once, so that an evaluation has many points to be stopped at.
    evaluationTokens: 200,
    maxNewTokens: 3,
    threads: 1,
    ...more,
  };
}

/** Learns the tasks in a run of its own, from beginning to end; what the learner told comes back. */
export async function learnAll(
  run: string,
  input: ConfigInput,
  tasks: readonly TaskData[],
): Promise<LearnerEvent[]> {
  const events: LearnerEvent[] = [];
  const learner = await Learner.create({ ...input, run }, { onEvent: (event) => events.push(event) });
  try {
    await learner.learnAll(tasks);
  } finally {
    await learner.dispose();
  }
  return events;
}

/** The files that must not depend on how often a run was interrupted, by name, as bytes. */
export async function results(run: string): Promise<Map<string, Buffer>> {
  const files = ["matrix.json", "metrics.jsonl", "layout.json"];
  for (const folder of ["adapter", "adapters", "predictions", "tasks"]) {
    for (const entry of await readdir(join(run, folder), { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) files.push(join(entry.parentPath, entry.name).slice(run.length + 1));
    }
  }
  return new Map(
    await Promise.all(
      files.sort().map(async (file) => [file, await readFile(join(run, file))] as [string, Buffer]),
    ),
  );
}

/** Names of the files in which two results differ, or that only one of them has. */
export function differences(a: ReadonlyMap<string, Buffer>, b: ReadonlyMap<string, Buffer>): string[] {
  const names = new Set([...a.keys(), ...b.keys()]);
  return [...names].filter((name) => !(a.has(name) && b.has(name) && a.get(name)!.equals(b.get(name)!)));
}

/** A data folder as users have it. */
export async function writeTasks(folder: string, tasks: readonly TaskData[]): Promise<string> {
  for (const set of ["train", "dev", "test"] as const) {
    await mkdir(join(folder, set), { recursive: true });
    for (const task of tasks)
      await writeFile(join(folder, set, `${task.name}.json`), JSON.stringify(task[set]));
  }
  return folder;
}
