import { expect } from "chai";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { ConfigInput } from "../../lib/training/config.js";
import { loadAddon } from "../../lib/native/load.js";
import { Learner } from "../../lib/training/learner.js";
import type { MatrixReport } from "../../lib/training/matrix.js";
import { settings, smallTasks, temporaryFolder, writeTinyCheckpoint } from "./tiny-run.js";

describe("upper bounds", function () {
  this.timeout(30_000);
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  let model: string;
  before(async () => {
    model = await writeTinyCheckpoint(at("model"));
  });

  async function learned(run: string, more: ConfigInput): Promise<MatrixReport> {
    const learner = await Learner.create({ ...settings(model, more), run: at(run) });
    try {
      return await learner.learnAll(smallTasks(3));
    } finally {
      await learner.dispose();
    }
  }

  const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => "no error",
      (error: { code?: string }) => error.code,
    );

  it("per-task: every task is evaluated with the adapter it was learned with", async () => {
    const thorough = { epochs: 8, learningRate: 3e-2 };
    const { R, ownLabelR, baseline } = await learned("per-task", { method: "per-task", ...thorough });
    const sequential = await learned("sequential", { method: "sequential", ...thorough });
    // With its own labels alone to choose from, a task's result depends on nothing but its adapter.
    for (const [j, first] of [ownLabelR[0]![0], ownLabelR[1]![1]].entries())
      for (let i = j; i < 3; i++) expect(ownLabelR[i]![j], `task ${j} after task ${i}`).to.equal(first);
    // Where the latest adapter is asked, it does not.
    const afterAll = sequential.ownLabelR.at(-1)!;
    expect(afterAll.slice(0, 2)).to.not.deep.equal([
      sequential.ownLabelR[0]![0],
      sequential.ownLabelR[1]![1],
    ]);
    // A task that comes later has no adapter yet: the untrained model answers.
    expect([R[0]![1], R[1]![2]]).to.deep.equal(baseline.slice(1));
    expect(sequential.ownLabelR[0]![0]).to.equal(ownLabelR[0]![0]);
  });

  it("per-task: evaluation leaves the last task's adapter in place", async () => {
    const bytes = (name: string): Promise<Buffer> =>
      readFile(join(at("per-task"), name, "adapter_model.safetensors"));
    const names = (await readdir(join(at("per-task"), "adapters"))).sort();
    expect(names).to.have.length(3);
    expect(await bytes("adapter")).to.deep.equal(await bytes(`adapters/${names[2]}`));
    const learner = await Learner.open(at("per-task"));
    const { parameters, layout } = learner.model.model;
    const found = await parameters.read(layout[0]!.offset, 8);
    await learner.dispose();
    const stored = await readStart(
      join(at("per-task"), "adapter", "adapter_model.safetensors"),
      layout[0]!.name,
    );
    expect([...found]).to.deep.equal(stored);
  });

  it("multi-task: learns all at once and fills the last row of the matrix alone", async () => {
    const matrix = await learned("multi-task", { method: "multi-task" });
    const [first, second, last] = matrix.R;
    expect([first, second]).to.deep.equal([
      [null, null, null],
      [null, null, null],
    ]);
    expect(last!.every((value) => typeof value === "number")).to.equal(true);
    expect(matrix.OP).to.be.closeTo(
      last!.reduce((sum: number, value) => sum + value! / 3, 0),
      1e-9,
    );
    expect([matrix.BWT, matrix.FWT]).to.deep.equal([null, null]);
    expect(matrix.baseline.every((value) => typeof value === "number")).to.equal(true);
    const lines = (await readFile(join(at("multi-task"), "metrics.jsonl"), "utf8")).trimEnd().split("\n");
    const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    // 3 tasks of 32 records, 2 epochs, 4 a step.
    expect(events.filter(({ event }) => event === "step")).to.have.length(48);
    expect(events.find(({ event }) => event === "task-start")).to.include({
      task: "3 tasks together",
      records: 96,
    });
  });

  it("multi-task: opens again with the same matrix, and learns nothing further", async () => {
    const learner = await Learner.open(at("multi-task"));
    try {
      expect(learner.tasks).to.deep.equal(smallTasks(3).map(({ name }) => name));
      const { matrix } = learner;
      expect(await learner.learnAll(smallTasks(3))).to.deep.equal(matrix);
      const [fourth] = smallTasks(4).slice(3);
      expect(await codeOf(learner.learn(fourth!))).to.equal("RUN_CONFLICT");
      expect(await codeOf(learner.learnAll([fourth!]))).to.equal("RUN_CONFLICT");
      expect(learner.matrix).to.deep.equal(matrix);
    } finally {
      await learner.dispose();
    }
  });

  it("methods of adapters are refused where every weight trains", async () => {
    for (const method of ["per-task", "slao"])
      expect(await codeOf(learned("full", { method, trainable: "full" }))).to.equal("CONFIG_INVALID");
    const byRank = learned("full-tasl", { method: "tasl", skillUnit: "rank", trainable: "full" });
    expect(await codeOf(byRank)).to.equal("CONFIG_INVALID");
  });
});

async function readStart(file: string, tensor: string): Promise<number[]> {
  const opened = await loadAddon().openSafetensors(file);
  try {
    return [...(await opened.readFloat32(tensor)).slice(0, 8)];
  } finally {
    opened.dispose();
  }
}
