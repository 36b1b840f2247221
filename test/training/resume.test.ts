import { expect } from "chai";
import { join } from "node:path";
import { isAborted } from "../../lib/errors.js";
import { createVector } from "../../lib/models/kernels.js";
import type { Vector } from "../../lib/native/contract.js";
import type { ConfigInput } from "../../lib/training/config.js";
import type { LearnerEvent } from "../../lib/training/events.js";
import { Learner } from "../../lib/training/learner.js";
import { openState, saveState } from "../../lib/training/run-state.js";
import type { RunCounters } from "../../lib/training/run-store.js";
import {
  differences,
  learnAll,
  results,
  settings,
  smallTasks,
  temporaryFolder,
  writeTinyCheckpoint,
} from "./tiny-run.js";

/** Where a run is stopped: at the first event that fits, after the stops before it. */
type Stop = { at: string; fits(event: LearnerEvent): boolean };

const step = (task: string, loop: number, number: number): Stop => ({
  at: `${task}, loop ${loop}, step ${number}`,
  fits: (event) => event.event === "step" && event.task === task && event.loop === loop && event.step === number,
}); // prettier-ignore
const evaluating = (task: string): Stop => ({
  at: `evaluation of ${task}`,
  fits: (event) => event.event === "progress" && event.stage === "evaluate" && event.task === task,
});
const event = (name: "task-start" | "task-end" | "evaluation" | "cycle", task: string): Stop => ({
  at: `${name} of ${task}`,
  fits: (told) => told.event === name && told.task === task,
});
/** Before the call. */
const atOnce: Stop = { at: "the call", fits: () => false };

const [first, second] = ["guild", "cargo"];

const plain: Stop[] = [
  atOnce,
  evaluating(first),
  step(first, 0, 0),
  step(first, 0, 1),
  step(first, 0, 9),
  step(first, 0, 15),
  evaluating(first),
  atOnce,
  evaluating(second),
  event("evaluation", second),
  step(second, 0, 0),
  step(second, 0, 7),
  atOnce,
  step(second, 0, 12),
  event("task-end", second),
  evaluating(second),
];
// 16 inner steps in cycles of 3 with 2 outer steps: 5 cycles, and one step after the last.
const recurrent: Stop[] = [
  event("task-start", first),
  step(first, 0, 4),
  evaluating(first),
  event("task-start", second),
  step(second, 0, 0),
  step(second, 0, 1),
  step(second, 0, 2),
  step(second, 1, 0),
  step(second, 1, 1),
  event("cycle", second),
  step(second, 0, 7),
  atOnce,
  step(second, 1, 5),
  step(second, 0, 11),
  step(second, 1, 9),
  step(second, 0, 15),
  evaluating(second),
];

// A day of 4 steps and rounds of 3; the first falls due with the day.
const replayed: Stop[] = [
  step(first, 0, 15),
  step(second, 0, 0),
  step(second, 0, 3),
  step(second, 1, 0),
  step(second, 1, 2),
  atOnce,
  step(second, 0, 6),
  step(second, 0, 15),
  evaluating(second),
];
// Merges every 3 steps: each time an inner step is followed by a look at the memory.
const merged: Stop[] = [
  step(first, 0, 4),
  step(second, 0, 0),
  step(second, 0, 1),
  step(second, 0, 2),
  step(second, 1, 1),
  step(second, 1, 2),
  atOnce,
  step(second, 0, 4),
  step(second, 1, 7),
  step(second, 0, 15),
];
const all = "2 tasks together";
// 32 steps, on the records of both.
const together: Stop[] = [
  evaluating(first),
  evaluating(second),
  step(all, 0, 0),
  step(all, 0, 1),
  atOnce,
  step(all, 0, 17),
  event("task-end", all),
  evaluating(second),
];

interface Case {
  name: string;
  options: ConfigInput;
  stops: Stop[];
}
const cycles = { innerSteps: 3, outerSteps: 2, outerLearningRate: 5e-3 };
const cases: Case[] = [
  { name: "sequential", options: { method: "sequential" }, stops: plain },
  {
    name: "recurrent-kif, batches of similar length",
    options: { method: "recurrent-kif", groupByLength: 3, ...cycles },
    stops: recurrent,
  },
  {
    name: "sequential, every weight trains",
    options: { method: "sequential", trainable: "full", learningRate: 1e-3 },
    stops: plain,
  },
  { name: "replay", options: { method: "replay", stepRatio: 1.5, microBatchSize: 3 }, stops: plain },
  { name: "recurrent-kif, paper", options: { method: "recurrent-kif", ...cycles }, stops: recurrent },
  {
    name: "recurrent-kif, published-code",
    options: { method: "recurrent-kif", preset: "published-code", devEvery: 3, ...cycles },
    stops: recurrent,
  },
  {
    name: "recurrent-kif, static importance",
    options: { method: "recurrent-kif", preset: "static-importance", ...cycles },
    stops: recurrent,
  },
  { name: "per-task", options: { method: "per-task" }, stops: plain },
  { name: "multi-task", options: { method: "multi-task" }, stops: together },
  { name: "ewc", options: { method: "ewc", ewcStrength: 100, fisherRecords: 20 }, stops: plain },
  { name: "o-lora", options: { method: "o-lora", adapterNormWeights: [0.1] }, stops: plain },
  { name: "migu", options: { method: "migu", microBatchSize: 3 }, stops: plain },
  { name: "ella", options: { method: "ella", overlapWeight: 1e4, selectBestOnDev: true }, stops: plain },
  { name: "tasl", options: { method: "tasl" }, stops: plain },
  { name: "tasl by rank", options: { method: "tasl", preset: "lora", selectBestOnDev: true }, stops: plain },
  { name: "slao", options: { method: "slao" }, stops: plain },
  {
    name: "forever",
    options: { method: "forever", daySteps: 4, replayRoundSteps: 3, anchorWeight: 0.1 },
    stops: replayed,
  },
  {
    name: "aim-merging",
    options: { method: "aim-merging", firstInterval: 3, forgettingRatio: 0.5 },
    stops: merged,
  },
];

describe("a run that is interrupted and goes on", function () {
  this.timeout(60_000);
  const folder = temporaryFolder();
  let model: string;
  before(async () => {
    model = await writeTinyCheckpoint(join(folder.path, "model"));
  });

  for (const [number, { name, options, stops }] of cases.entries()) {
    describe(name, () => {
      const tasks = smallTasks(2);
      let undisturbed: Awaited<ReturnType<typeof results>>;
      before(async () => {
        const run = join(folder.path, `${number}-undisturbed`);
        await learnAll(run, settings(model, options), tasks);
        undisturbed = await results(run);
      });

      for (const how of ["in the same learner", "by a fresh learner"]) {
        it(`ends with the bits of the run left alone, ${how}`, async () => {
          const run = join(folder.path, `${number}-${how.replaceAll(" ", "-")}`);
          const input = { ...settings(model, options), run, saveEvery: number % 2 === 0 ? 200 : 5 };
          const reached = await learnInterrupted(input, stops, how === "by a fresh learner");
          expect(reached).to.deep.equal(stops.map(({ at }) => at));
          expect(differences(await results(run), undisturbed)).to.deep.equal([]);
        });
      }
    });
  }

  it("goes on where an earlier version, which kept nothing over tasks and learned none together, left it", async () => {
    const tasks = smallTasks(2);
    const input = settings(model, { method: "sequential" });
    await learnAll(join(folder.path, "never-left"), input, tasks);
    const run = join(folder.path, "left");
    await learnInterrupted({ ...input, run }, [step(second, 0, 7)], false, 1);
    const state = join(run, "state.safetensors");
    const saved = await openState(state);
    const { kept, current, ...counters } = saved.counters as RunCounters;
    expect([kept, current?.tasks]).to.deep.equal([null, null]);
    const { tasks: _, ...earlier } = current!;
    const vectors = new Map<string, Vector>();
    for (const name of saved.names) {
      const vector = createVector(saved.lengthOf(name));
      saved.readInto(name, vector);
      vectors.set(name, vector);
    }
    await saveState(state, { counters: { ...counters, current: earlier }, vectors });
    saved.dispose();
    await learnAll(run, input, tasks);
    expect(differences(await results(run), await results(join(folder.path, "never-left")))).to.deep.equal([]);
  });

  /** @param most stops after which the run is left */
  async function learnInterrupted(
    input: ConfigInput & { run: string },
    stops: readonly Stop[],
    fresh: boolean,
    most: number = Infinity,
  ): Promise<string[]> {
    const reached: string[] = [];
    let controller = new AbortController();
    const onEvent = (told: LearnerEvent): void => {
      if (stops[reached.length]?.fits(told)) controller.abort();
    };
    let learner = await Learner.create(input, { onEvent });
    try {
      const tasks = smallTasks(2);
      while (learner.tasks.length < tasks.length && reached.length < most) {
        controller = new AbortController();
        if (stops[reached.length] === atOnce) controller.abort();
        try {
          await learner.learnAll(tasks, { signal: controller.signal });
          expect(controller.signal.aborted, "an abort without effect").to.equal(false);
        } catch (error) {
          if (!isAborted(error)) throw error;
          expect(learner.unfinished).to.equal(tasks[learner.tasks.length]!.name);
          reached.push(stops[reached.length]!.at);
          if (!fresh) continue;
          await learner.dispose();
          learner =
            reached.length % 2 === 0
              ? await Learner.open(input.run, { onEvent })
              : await Learner.create(input, { onEvent });
        }
      }
    } finally {
      await learner.dispose();
    }
    return reached;
  }
});
