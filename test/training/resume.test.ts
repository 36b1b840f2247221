import { expect } from "chai";
import { join } from "node:path";
import { isAborted } from "../../lib/errors.js";
import type { ConfigInput } from "../../lib/training/config.js";
import type { LearnerEvent } from "../../lib/training/events.js";
import { Learner } from "../../lib/training/learner.js";
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

interface Case {
  name: string;
  options: ConfigInput;
  stops: Stop[];
}
const cycles = { innerSteps: 3, outerSteps: 2, outerLearningRate: 5e-3 };
const cases: Case[] = [
  { name: "sequential", options: { method: "sequential" }, stops: plain },
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

  async function learnInterrupted(
    input: ConfigInput & { run: string },
    stops: readonly Stop[],
    fresh: boolean,
  ): Promise<string[]> {
    const reached: string[] = [];
    let controller = new AbortController();
    const onEvent = (told: LearnerEvent): void => {
      if (stops[reached.length]?.fits(told)) controller.abort();
    };
    let learner = await Learner.create(input, { onEvent });
    try {
      for (const task of smallTasks(2)) {
        while (!learner.tasks.includes(task.name)) {
          controller = new AbortController();
          if (stops[reached.length] === atOnce) controller.abort();
          try {
            await learner.learn(task, { signal: controller.signal });
            expect(controller.signal.aborted, "an abort without effect").to.equal(false);
          } catch (error) {
            if (!isAborted(error)) throw error;
            expect(learner.unfinished).to.equal(task.name);
            reached.push(stops[reached.length]!.at);
            if (!fresh) continue;
            await learner.dispose();
            learner =
              reached.length % 2 === 0
                ? await Learner.open(input.run, { onEvent })
                : await Learner.create(input, { onEvent });
          }
        }
      }
    } finally {
      await learner.dispose();
    }
    return reached;
  }
});
