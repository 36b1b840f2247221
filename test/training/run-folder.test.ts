import { expect } from "chai";
import { spawn, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Learner } from "../../lib/training/learner.js";
import { RunFolder, writeJson } from "../../lib/training/run-folder.js";
import {
  differences,
  learnAll,
  results,
  settings,
  smallTasks,
  temporaryFolder,
  writeTinyCheckpoint,
} from "./tiny-run.js";

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return promise.then(
    () => undefined,
    (error: unknown) => (error as { code: string }).code,
  );
}

describe("a run folder", function () {
  this.timeout(30_000);
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  let model: string;
  before(async () => {
    model = await writeTinyCheckpoint(at("model"));
  });

  it("holds configuration, metrics, matrix and adapters", async () => {
    const run = at("run");
    const events = await learnAll(run, settings(model, { innerSteps: 3, outerSteps: 2 }), smallTasks(2));
    expect((await readdir(run)).sort()).to.deep.equal(
      ["adapter", "adapters", "config.json", "layout.json", "matrix.json", "metrics.jsonl", "predictions", "state.safetensors", "tasks"], // prettier-ignore
    );
    expect((await readdir(join(run, "adapters"))).sort()).to.deep.equal(["01-guild", "02-cargo"]);
    const config = JSON.parse(await readFile(join(run, "config.json"), "utf8")) as object;
    expect(config).to.include({ model, seed: 42, innerSteps: 3, loraRank: 8 });

    const logged = (await readFile(join(run, "metrics.jsonl"), "utf8")).trimEnd().split("\n");
    const kept = events.filter(({ event }) => event !== "progress");
    expect(logged.map((line) => JSON.parse(line) as object)).to.deep.equal(JSON.parse(JSON.stringify(kept)));
    // 16 steps on the first task; 16 inner and 5 * 2 outer steps on the second.
    expect(kept.filter(({ event }) => event === "step")).to.have.length(16 + 26);
    expect(kept.filter(({ event }) => event === "cycle")).to.have.length(5);

    const { tasks, R, OP, BWT, FWT, baseline } = JSON.parse(
      await readFile(join(run, "matrix.json"), "utf8"),
    ) as {
      tasks: string[];
      R: number[][];
      OP: number;
      BWT: number;
      FWT: number;
      baseline: number[];
    };
    expect(tasks).to.deep.equal(["guild", "cargo"]);
    expect(R.map((row) => row.length)).to.deep.equal([2, 2]);
    // By the definitions of the three measures.
    expect(OP).to.be.closeTo((R[1]![0]! + R[1]![1]!) / 2, 1e-12);
    expect(BWT).to.be.closeTo(R[1]![0]! - R[0]![0]!, 1e-12);
    expect(FWT).to.be.closeTo(R[0]![1]! - baseline[1]!, 1e-12);

    const [last, second] = await Promise.all(
      ["adapter", "adapters/02-cargo"].map((name) => readFile(join(run, name, "adapter_model.safetensors"))),
    );
    expect(last!.equals(second!)).to.equal(true);
  });

  it("reads a task's records back once while it is learned, before it trains", async () => {
    const run = at("read-once");
    const input = settings(model, { method: "replay" });
    await learnAll(at("undisturbed"), input, smallTasks(2));
    const gone: string[] = [];
    const learner = await Learner.create(
      { ...input, run },
      {
        onEvent: (event) => {
          if (event.event !== "step" || event.step > 0) return;
          const path = new RunFolder(run).task(gone.length, event.task);
          for (const file of ["test.jsonl", "dev.jsonl"]) rmSync(join(path, file));
          gone.push(event.task);
        },
      },
    );
    await learner.learnAll(smallTasks(2));
    await learner.dispose();
    expect(gone).to.deep.equal(["guild", "cargo"]);
    const left = differences(await results(run), await results(at("undisturbed")));
    expect(left.sort()).to.deep.equal(
      ["01-guild", "02-cargo"].flatMap((task) => ["dev", "test"].map((set) => `tasks/${task}/${set}.jsonl`)),
    );
  });

  it("keeps of every task what later ones need, and memory by label", async () => {
    const run = at("run");
    const [guild] = smallTasks(1);
    const read = async (file: string): Promise<{ id: string; output: string }[]> =>
      (await readFile(join(run, "tasks", "01-guild", file), "utf8"))
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as { id: string; output: string });
    const memory = await read("memory.jsonl");
    // floor(0.2 * 32) = 6 records, max(1, floor(6 / 4)) = 1 of each of the 4 labels among them.
    expect(memory).to.have.length(6);
    expect(new Set(memory.map(({ output }) => output)).size).to.equal(4);
    const train = new Map(guild!.train.map((record) => [record.id, record]));
    for (const record of memory) expect(train.get(record.id)).to.deep.equal(record);
    expect(await read("test.jsonl")).to.deep.equal(guild!.test);
  });

  it("is refused to a second learner of the same process, and free after dispose", async () => {
    const input = { ...settings(model), run: at("shared") };
    const learner = await Learner.create(input);
    expect(await codeOf(Learner.create(input))).to.equal("RUN_CONFLICT");
    expect(await codeOf(Learner.open(input.run))).to.equal("RUN_CONFLICT");
    await learner.dispose();
    await (await Learner.open(input.run)).dispose();
  });

  it("is refused while a living process holds it, and taken over from a dead one", async () => {
    const run = at("locked");
    await mkdir(run);
    const lock = join(run, "lock");
    const alive = spawn(process.execPath, ["-e", "setTimeout(() => {}, 60000)"]);
    try {
      await writeFile(lock, String(alive.pid));
      const error = await new RunFolder(run).open().catch((thrown: unknown) => thrown as Error);
      expect(error).to.have.property("code", "RUN_CONFLICT");
      expect((error as Error).message)
        .to.include(`process ${alive.pid}`)
        .and.include(lock);
    } finally {
      alive.kill();
    }
    const dead = spawnSync(process.execPath, ["-e", ""]).pid;
    for (const left of [String(dead), String(process.pid), ""]) {
      await writeFile(lock, left);
      const taken = new RunFolder(run);
      await taken.open();
      expect(await readFile(lock, "utf8")).to.equal(String(process.pid));
      await taken.close();
      expect(await readdir(run)).to.deep.equal([]);
    }
  });

  it("is not given to two that ask at the same time", async () => {
    const folders = Array.from({ length: 8 }, () => new RunFolder(at("race")));
    const codes = await Promise.all(folders.map((asked) => codeOf(asked.open())));
    expect(codes.filter((code) => code === undefined)).to.have.length(1);
    for (const [i, asked] of folders.entries()) if (codes[i] === undefined) await asked.close();
    await new RunFolder(at("race")).open();
  });

  it("gives the lock back where a run cannot be opened", async () => {
    const run = at("bad");
    await mkdir(run);
    await writeFile(join(run, "config.json"), "{");
    expect(await codeOf(Learner.open(run))).to.equal("RUN_INVALID");
    expect(await readdir(run)).to.deep.equal(["config.json"]);
    expect(await codeOf(Learner.open(at("nothing")))).to.equal("RUN_INVALID");
  });

  it("refuses what does not fit: a task twice, another before the interrupted one, other records for it", async () => {
    const [guild, cargo] = smallTasks(2);
    const run = at("order");
    const controller = new AbortController();
    const learner = await Learner.create(
      { ...settings(model), run },
      {
        onEvent: (event) => {
          if (event.event === "step" && event.task === "cargo") controller.abort();
        },
      },
    );
    try {
      await learner.learn(guild!);
      expect(await codeOf(learner.learn(guild!))).to.equal("RUN_CONFLICT");
      expect(await codeOf(learner.learn(cargo!, { signal: controller.signal }))).to.equal("ABORTED");
      expect(await codeOf(learner.learn(smallTasks(3)[2]!))).to.equal("RUN_CONFLICT");
      expect(await codeOf(learner.learn({ ...cargo!, train: cargo!.train.slice(1) }))).to.equal(
        "RUN_CONFLICT",
      );
      const both = [learner.learn(cargo!), learner.learn(cargo!)];
      expect((await Promise.all(both.map(codeOf))).sort()).to.deep.equal(["RUN_CONFLICT", undefined]);
      expect(learner.tasks).to.deep.equal(["guild", "cargo"]);
      expect(await codeOf(learner.learn({ ...guild!, name: "empty", train: [] }))).to.equal("DATA_INVALID");
    } finally {
      await learner.dispose();
    }
  });

  it("names the options of another configuration", async () => {
    const input = { ...settings(model), run: at("conflict") };
    await (await Learner.create(input)).dispose();
    const error = await Learner.create({ ...input, learningRate: 0.5, threads: 2 }).catch(
      (thrown: unknown) => thrown as Error,
    );
    expect(error).to.have.property("code", "RUN_CONFLICT");
    expect((error as Error).message).to.include("(learningRate: 0.01 there, 0.5 given)");
  });

  it("replaces a JSON file as a whole and leaves nothing beside it", async () => {
    const path = at("json");
    await mkdir(path);
    const file = join(path, "a.json");
    await writeJson(file, { a: 1 });
    await Promise.all(Array.from({ length: 20 }, (_, i) => writeJson(file, { a: "x".repeat(1000 * i) })));
    JSON.parse(await readFile(file, "utf8"));
    expect(await readdir(path)).to.deep.equal(["a.json"]);
  });
});
