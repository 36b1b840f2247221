import { expect } from "chai";
import { readFileSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { planBench, type BenchPlan } from "../../lib/bench/plan.js";
import type { BenchResults } from "../../lib/bench/results.js";
import { runBench, type BenchEvent } from "../../lib/bench/run-bench.js";
import type { BenchInput } from "../../lib/bench/spec.js";
import { isAborted } from "../../lib/errors.js";
import { Tokenizer } from "../../lib/models/tokenizer.js";
import { rejection } from "../data/folder.js";
import { asFlags, rkif } from "../cli/rkif.js";
import {
  settings,
  smallTasks,
  temporaryFolder,
  writeTasks,
  writeTinyCheckpoint,
} from "../training/tiny-run.js";

/** Results without what differs from run to run. */
function untimed(results: BenchResults): unknown {
  return JSON.parse(
    JSON.stringify(results, (key, value: unknown) => (key === "timing" ? undefined : value)),
  ) as unknown;
}

describe("a bench", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  const methods = ["sequential", "replay", "recurrent-kif"];
  let options: Record<string, unknown>;
  let cycles: Record<string, unknown>;
  let plan: BenchPlan;
  let alone: BenchResults;
  let told: BenchEvent[];

  const input = (more: Partial<BenchInput> = {}): BenchInput => ({
    name: "tiny",
    variants: methods,
    orders: [["guild", "cargo"]],
    seeds: [1, 2],
    options: { ...options, ...cycles },
    ...more,
  });
  const readResults = async (out: string): Promise<BenchResults> =>
    JSON.parse(await readFile(join(out, "results.json"), "utf8")) as BenchResults;

  before(async () => {
    const model = await writeTinyCheckpoint(at("model"));
    const data = await writeTasks(at("data"), smallTasks(2));
    options = { ...settings(model, { epochs: 1, saveEvery: 3 }), data };
    cycles = { innerSteps: 3, outerSteps: 2 };
    plan = await planBench(input());
    told = [];
    alone = await runBench(plan, { out: at("alone"), onEvent: (event) => told.push(event) });
  });

  it("runs every cell and keeps what came out", async () => {
    expect(alone.cells.map(({ state }) => state)).to.deep.equal(Array(6).fill("done"));
    expect(alone).to.deep.equal(await readResults(at("alone")));
    for (const cell of alone.cells) {
      if (cell.state !== "done") throw new Error("not done");
      const matrix = JSON.parse(await readFile(join(at("alone"), cell.run, "matrix.json"), "utf8")) as {
        OP: number;
        BWT: number;
        R: number[][];
      };
      const { result } = cell;
      expect([result.OP, result.BWT]).to.deep.equal([matrix.OP, matrix.BWT]);
      expect(result.learnedInTurn).to.equal((matrix.R[0]![0]! + matrix.R[1]![1]!) / 2);
      const lines = (await readFile(join(at("alone"), cell.run, "metrics.jsonl"), "utf8")).trim().split("\n");
      const steps = lines.filter((line) => line.startsWith('{"event":"step"'));
      expect(result.steps).to.equal(steps.length);
      expect(result.timing.trainSeconds).to.be.greaterThan(0);
      expect(result.timing.evaluateSeconds).to.be.greaterThan(0);
    }
    const cells = told.flatMap((event) => (event.event === "cell-end" ? [event.number] : []));
    expect(cells).to.deep.equal([1, 2, 3, 4, 5, 6]);
  });

  it("counts the tokens that gradients were computed on", async () => {
    const tokens = Object.fromEntries(alone.variants.map((variant) => [variant.variant, variant.tokens!]));
    // Sequential training sees every record once; the others also see memory.
    const tokenizer = await Tokenizer.open(at("model"));
    const records = smallTasks(2).flatMap(({ train }) => train);
    const texts = records.flatMap(({ instruction = "", input: text, output }) => [
      instruction + text,
      output,
    ]);
    const expected = (await tokenizer.encode(texts)).reduce((sum, { length }) => sum + length, 0);
    expect(tokens["sequential"]).to.equal(expected);
    expect(tokens["replay"]).to.be.greaterThan(expected);
    expect(tokens["recurrent-kif"]).to.be.greaterThan(tokens["replay"]!);
  });

  it("called again, runs nothing and tells the same", async () => {
    const events: BenchEvent[] = [];
    const again = await runBench(plan, { out: at("alone"), onEvent: (event) => events.push(event) });
    expect(again).to.deep.equal(alone);
    expect(events).to.deep.equal([]);
  });

  it("stopped at any event and called again, ends with the figures of one left alone", async () => {
    const out = at("stopped");
    let results: BenchResults | undefined;
    let stops = 0;
    for (let call = 0; results === undefined; call++) {
      const controller = new AbortController();
      let steps = 0;
      try {
        results = await runBench(plan, {
          out,
          signal: controller.signal,
          onEvent: (event) => {
            if (event.event === "cell-event" && event.told.event === "step" && ++steps === 9 + 4 * call)
              controller.abort();
          },
        });
      } catch (error) {
        if (!isAborted(error)) throw error;
        stops++;
      }
    }
    expect(stops).to.be.greaterThan(3);
    expect(untimed(results)).to.deep.equal(untimed(alone));
  });

  it("runs several cells at once, each in a process of its own, with the same figures", async () => {
    const out = at("parallel");
    const controller = new AbortController();
    const started = new Set<number>();
    let steps = 0;
    const stopped = await rejection(
      runBench(plan, {
        ...{ out, jobs: 3, signal: controller.signal },
        onEvent: (event) => {
          started.add(event.number);
          if (event.event === "cell-event" && event.told.event === "step" && ++steps === 15)
            controller.abort();
        },
      }),
    );
    expect(stopped.code).to.equal("ABORTED");
    expect([...started]).to.include.members([1, 2, 3]);
    const results = await runBench(plan, { out, jobs: 3 });
    expect(untimed(results)).to.deep.equal(untimed(alone));
    expect(await readResults(out)).to.deep.equal(results);
    expect((await rejection(runBench(plan, { out, jobs: 1.5 }))).message).to.contain("jobs is 1.5");
  });

  it("takes a cell's process that is killed for a failure of that cell alone", async () => {
    const out = at("killed-cell");
    const two = await planBench(input({ variants: ["sequential"], options }));
    const killed = await runBench(two, {
      ...{ out, jobs: 2 },
      onEvent: (event) => {
        if (event.event !== "cell-event" || event.told.event !== "step" || event.number !== 1) return;
        process.kill(Number(readFileSync(join(out, event.cell.run, "lock"), "utf8")), "SIGKILL");
      },
    });
    expect(killed.cells.map(({ state }) => state)).to.deep.equal(["failed", "done"]);
    const [first] = killed.cells;
    if (first?.state !== "failed") throw new Error("not failed");
    expect(first.failure.code).to.equal("PROCESS_ENDED");
    expect(first.failure.message).to.contain("SIGKILL");
    const again = await runBench(two, { out, jobs: 2 });
    expect(again.variants[0]!.OP).to.deep.equal(alone.variants[0]!.OP);
  });

  it("killed and started again by the command line, ends with the table of one left alone", async () => {
    const command = (out: string): string[] => [
      "bench",
      ...[
        "--methods",
        methods.join(","),
        "--orders",
        "guild,cargo",
        "--seeds",
        "1,2",
        "--out",
        out,
        "--json",
      ],
      ...asFlags({ ...options, ...cycles }),
    ];
    // In the first step of a bench, while a cycle is under way, and while the fifth cell is evaluated.
    const kills = [
      { number: 0, event: '"event":"step"' },
      { number: 2, event: '"loop":1,"step":2' },
      { number: 4, event: '"event":"task-end"' },
    ];
    for (const { number, event } of kills) {
      const metrics = join(at("killed"), plan.cells[number]!.run, "metrics.jsonl");
      let isOver = false;
      let killing: Promise<void> | undefined;
      const ended = await rkif(command(at("killed")), {
        onStart: (kill) => {
          killing = (async () => {
            while (!isOver) {
              if ((await readFile(metrics, "utf8").catch(() => "")).includes(event)) kill("SIGKILL");
              await pause(2);
            }
          })();
        },
      });
      isOver = true;
      await killing;
      expect(ended.signal, ended.stderr).to.equal("SIGKILL");
      expect((await readResults(at("killed"))).cells.map(({ state }) => state === "done")).to.deep.equal(
        plan.cells.map((_, i) => i < number),
      );
    }
    const last = await rkif(command(at("killed")));
    expect(last.code, last.stderr).to.equal(0);
    const results = JSON.parse(last.stdout) as BenchResults;
    const named = { ...alone, name: "data" };
    expect(untimed(results)).to.deep.equal(untimed(named));
  });

  it("keeps a failed cell with why and where, goes on with the others, and tries it again when called again", async () => {
    const out = at("failing");
    // What a model folder that breaks in between does: the weights of the second cell's load are gone.
    const model = await writeTinyCheckpoint(at("breaking"));
    const weights = await readFile(join(model, "model.safetensors"));
    const breaking = await planBench(input({ variants: ["sequential"], options: { ...options, model } }));
    const failed = await runBench(breaking, {
      out,
      onEvent: (event) => {
        if (event.event === "cell-end") broken = rm(join(model, "model.safetensors"), { force: true });
      },
    });
    await broken;
    expect(failed.cells.map(({ state }) => state)).to.deep.equal(["done", "failed"]);
    const [, second] = failed.cells;
    if (second?.state !== "failed") throw new Error("not failed");
    expect(second.failure.message).to.contain("model.safetensors");
    expect(failed.variants[0]).to.deep.include({ cells: 2, done: 1, failed: 1 });

    await writeFile(join(model, "model.safetensors"), weights);
    const ran: string[] = [];
    const mended = await runBench(breaking, {
      out,
      onEvent: (event) => {
        if (event.event === "cell-start") ran.push(event.cell.run);
      },
    });
    expect(ran).to.deep.equal([breaking.cells[1]!.run]);
    expect(mended.cells.map(({ state }) => state)).to.deep.equal(["done", "done"]);
  });
  let broken: Promise<void> | undefined;

  it("says at which task a cell failed", async () => {
    const model = await writeTinyCheckpoint(at("poisoned"), NaN);
    const poisoned = await planBench(
      input({
        variants: ["sequential"],
        seeds: [1],
        options: { ...options, model, epochs: 4, evaluateBy: "generate" },
      }),
    );
    const { cells } = await runBench(poisoned, { out: at("poison") });
    expect(cells[0]).to.deep.include({ state: "failed" });
    if (cells[0]?.state !== "failed") return;
    expect(cells[0].failure).to.deep.include({ code: "NON_FINITE", task: "guild" });
  });

  it("is refused in a folder with cells of other options or another set, and takes further cells", async () => {
    const other = await planBench(
      input({ options: { ...options, ...cycles, learningRate: 1e-4, testLimit: 3 } }),
    );
    const error = await rejection(runBench(other, { out: at("alone") }));
    expect(error.code).to.equal("RUN_CONFLICT");
    expect(error.message).to.match(/sequential, order guild,cargo, seed 1.*\(learningRate, testLimit\)/);
    const onDev = await rejection(
      runBench(await planBench(input({ evaluateOn: "dev" })), { out: at("alone") }),
    );
    expect(onDev.message).to.contain("evaluated on test, and dev is asked for");

    const more = await planBench(input({ variants: ["sequential", "slao"], seeds: [1], options }));
    const ran: string[] = [];
    const { variants } = await runBench(more, {
      out: at("alone"),
      onEvent: (event) => {
        if (event.event === "cell-start") ran.push(event.cell.variant);
      },
    });
    expect(ran).to.deep.equal(["slao"]);
    expect(variants.map(({ done }) => done)).to.deep.equal([1, 1]);
  });
});
