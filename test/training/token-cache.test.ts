import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import type { TaskData } from "../../lib/data/tasks.js";
import { demoTasks } from "../../lib/demo/tasks.js";
import { loadAddon } from "../../lib/native/load.js";
import type { ConfigInput } from "../../lib/training/config.js";
import type { LearnerEvent } from "../../lib/training/events.js";
import { Learner, type LearnOptions } from "../../lib/training/learner.js";
import {
  differences,
  learnAll,
  results,
  settings,
  temporaryFolder,
  writeTinyCheckpoint,
} from "./tiny-run.js";

describe("a run's tokens", function () {
  this.timeout(60_000);
  const folder = temporaryFolder();
  let model: string;
  let tasks: TaskData[];
  let usual: string | undefined;

  before(async () => {
    loadAddon(); // its libtorch may be in the user's cache
    usual = process.env["XDG_CACHE_HOME"];
    model = await writeTinyCheckpoint(join(folder.path, "model"));
    // So many that their texts are worth keeping; those of test and dev are not.
    tasks = demoTasks(1, { train: 1000, dev: 8, test: 12 }).slice(0, 2);
  });
  afterEach(() => {
    if (usual === undefined) delete process.env["XDG_CACHE_HOME"];
    else process.env["XDG_CACHE_HOME"] = usual;
  });

  const input = (more: ConfigInput = {}): ConfigInput =>
    settings(model, { method: "sequential", epochs: 1, batchSize: 100, memoryFraction: 0.01, ...more });
  const useCache = (name: string): void => {
    process.env["XDG_CACHE_HOME"] = join(folder.path, name);
  };
  const entries = (name: string): Promise<string[]> =>
    readdir(join(folder.path, name, "recurrent-kif", "tokens")).catch(() => []);
  const run = (name: string): string => join(folder.path, name);

  it("are kept for later runs, whose bytes are those of a run without", async () => {
    useCache("kept");
    await learnAll(run("first"), input(), tasks);
    const made = await entries("kept");
    expect(made).to.have.length(2);
    await learnAll(run("second"), input(), tasks);
    expect(await entries("kept")).to.have.members(made);
    useCache("off");
    await learnAll(run("without"), input({ tokenCache: null }), tasks);
    expect(await entries("off")).to.deep.equal([]);
    const without = await results(run("without"));
    for (const name of ["first", "second"])
      expect(differences(await results(run(name)), without), name).to.deep.equal([]);
  });

  it("are made ahead for the task that comes next, unless nothing is kept", async () => {
    const learnFirst = async (name: string, options: LearnOptions, more?: ConfigInput): Promise<number> => {
      useCache(name);
      await using learner = await Learner.create({ ...input(more), run: run(name) });
      await learner.learn(tasks[0]!, options);
      return (await entries(name)).length;
    };
    expect(await learnFirst("alone", {})).to.equal(1);
    expect(await learnFirst("next", { next: tasks[1]! })).to.equal(2);
    expect(await learnFirst("nothing", { next: tasks[1]! }, { tokenCache: null })).to.equal(0);
  });

  it("of the next task do not hold up this one where they cannot be made", async () => {
    useCache("failing");
    await using learner = await Learner.create({ ...input(), run: run("failing") });
    const broken = { ...tasks[1]!, train: [{ input: "x", output: null as unknown as string }] };
    const report = await learner.learn(tasks[0]!, { next: broken });
    expect(report.tasks).to.deep.equal([tasks[0]!.name]);
    const error = await learner.learn(broken).catch((failure: Error) => failure);
    expect(error).to.be.instanceOf(TypeError);
  });

  it("may be kept elsewhere when the run goes on: results do not depend on it", async () => {
    useCache("later");
    const events: LearnerEvent[] = [];
    const controller = new AbortController();
    const learner = await Learner.create(
      { ...input(), run: run("later") },
      {
        onEvent: (event) => {
          events.push(event);
          if (event.event === "step" && event.task === tasks[1]!.name && event.step === 3) controller.abort();
        },
      },
    );
    const stopped = await learner
      .learnAll(tasks, { signal: controller.signal })
      .catch((error: Error) => error);
    expect(stopped).to.have.property("code", "ABORTED");
    await learner.dispose();
    await learnAll(run("later"), input({ tokenCache: null }), tasks);
    expect(differences(await results(run("later")), await results(run("without")))).to.deep.equal([]);
  });

  it("have a size that is one", async () => {
    const error = await Learner.create({ ...input({ tokenCache: "much" }), run: run("much") }).catch(
      (e: Error) => e,
    );
    expect(error)
      .to.have.property("message")
      .that.matches(/tokenCache is "much"; expected a size/);
  });
});
