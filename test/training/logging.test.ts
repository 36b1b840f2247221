import { expect } from "chai";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { LearnerEvent } from "../../lib/training/events.js";
import { readPredictions } from "../../lib/training/predictions.js";
import { elementCount } from "../../lib/models/element-count.js";
import type { TensorShape } from "../../lib/training/tensor-statistics.js";
import { normaliseAnswer } from "../../lib/data/normalise-answer.js";
import { learnAll, settings, smallTasks, temporaryFolder, writeTinyCheckpoint } from "./tiny-run.js";

type Logged<Name extends LearnerEvent["event"]> = Extract<LearnerEvent, { event: Name }>;

const of = <Name extends LearnerEvent["event"]>(events: LearnerEvent[], name: Name): Logged<Name>[] =>
  events.filter((event): event is Logged<Name> => event.event === name);
const sum = (values: readonly (number | null)[]): number => values.reduce<number>((a, b) => a + b!, 0);

describe("what a run logs", function () {
  this.timeout(30_000);
  const folder = temporaryFolder();
  let model: string;
  before(async () => {
    model = await writeTinyCheckpoint(join(folder.path, "model"));
  });
  // 16 steps on each task: 5 cycles of 3 on the second one.
  const options = { innerSteps: 3, outerSteps: 2, outerLearningRate: 5e-3 };
  const learn = (name: string, more: object): Promise<LearnerEvent[]> =>
    learnAll(join(folder.path, name), settings(model, { ...options, ...more }), smallTasks(2));

  it("counts the masks by tensor, in every n-th cycle and the last, in sum as the fusion does", async () => {
    const events = await learn("masks", { logMasksEvery: 3 });
    const layout = JSON.parse(
      await readFile(join(folder.path, "masks", "layout.json"), "utf8"),
    ) as TensorShape[];
    const tensors = of(events, "tensors");
    expect(tensors.map(({ cycle }) => cycle)).to.deep.equal([0, 3, 4]);
    for (const logged of tensors) {
      const cycle = of(events, "cycle").find((each) => each.cycle === logged.cycle)!;
      for (const name of ["onlyIn", "onlyOut", "both"] as const) {
        expect(logged[name]).to.have.length(layout.length);
        expect(sum(logged[name]!), name).to.equal(cycle[name]);
      }
      layout.forEach((tensor, i) =>
        expect(logged.onlyIn![i]! + logged.onlyOut![i]! + logged.both![i]!).to.be.at.most(
          elementCount(tensor),
        ),
      );
      // The square of a mean is at most the mean of squares.
      const elements = sum(layout.map(elementCount));
      const mean = sum(layout.map((tensor, i) => logged.importanceIn[i]! * elementCount(tensor))) / elements;
      expect(mean)
        .to.be.above(0)
        .and.below(cycle.importanceIn! * 1.0001);
    }
  });

  it("counts nothing by tensor where that is switched off, and importance alone without masks", async () => {
    expect(of(await learn("none", { logMasksEvery: null }), "tensors")).to.deep.equal([]);
    const adaptive = of(await learn("adaptive", { fusion: "adaptive" }), "tensors");
    expect(adaptive.map(({ cycle }) => cycle)).to.deep.equal([0, 4]);
    for (const logged of adaptive) {
      expect(logged).to.not.have.any.keys("onlyIn", "onlyOut", "both");
      expect(logged.importanceOut.every((mean) => mean !== null && mean > 0)).to.equal(true);
    }
  });

  it("logs the merges of a method that has no importance, with their weights and intervals", async () => {
    const merging = settings(model, { method: "aim-merging", firstInterval: 3, forgettingRatio: 0.5 });
    const events = await learnAll(join(folder.path, "merges"), merging, smallTasks(2));
    expect(of(events, "tensors")).to.deep.equal([]);
    const cycles = of(events, "cycle");
    expect(cycles.length).to.be.above(2);
    for (const [i, logged] of cycles.entries()) {
      expect(logged).to.have.all.keys("event", "task", "cycle", "fused", "merge");
      expect(logged).to.include({ task: smallTasks(2)[1]!.name, cycle: i, fused: true });
      // A merge comes after as many steps on the memory as its interval has.
      const before = events.slice(0, events.indexOf(logged));
      const own = before.filter((event) => event.event === "step" && event.task === logged.task);
      const steps = (loop: number): number => of(own, "step").filter((step) => step.loop === loop).length;
      expect(logged.merge!.step).to.equal(steps(0));
      expect(sum(cycles.slice(0, i + 1).map(({ merge }) => merge!.interval))).to.equal(steps(1));
      expect([logged.merge!.weightIn, logged.merge!.weightOut]).to.deep.be.oneOf([[0.6, 0.4], [0.5, 0.5]]); // prettier-ignore
    }
  });

  it("keeps the answers that each evaluation counted", async () => {
    const events = await learn("answers", {});
    const tasks = smallTasks(2);
    const run = join(folder.path, "answers", "predictions");
    expect((await readdir(run)).sort()).to.deep.equal(["00-untrained", "01-guild", "02-cargo"]);
    const evaluations = of(events, "evaluation");
    expect(evaluations).to.have.length(6);
    for (const { after, task, correct, total } of evaluations) {
      const index = (name: string | null): number => tasks.findIndex((each) => each.name === name);
      const numbered = (name: string | null): string => `0${index(name) + 1}-${name ?? "untrained"}`;
      const answers = await readPredictions(join(run, numbered(after), `${numbered(task)}.json`));
      const { test } = tasks[index(task)]!;
      expect(answers).to.have.length(total);
      const right = answers.filter(
        (answer, i) => normaliseAnswer(answer) === normaliseAnswer(test[i]!.output),
      );
      expect(right).to.have.length(correct);
    }
  });
});
