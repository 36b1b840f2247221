import { expect } from "chai";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BenchResults } from "../../lib/bench/results.js";
import {
  settings,
  smallTasks,
  temporaryFolder,
  writeTasks,
  writeTinyCheckpoint,
} from "../training/tiny-run.js";
import { asFlags, rkif } from "./rkif.js";

describe("rkif bench", function () {
  this.timeout(60_000);
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  let options: Record<string, unknown>;

  before(async () => {
    const model = await writeTinyCheckpoint(at("model"));
    options = settings(model, { epochs: 1, measureForwardTransfer: false });
    await writeTasks(at("data"), smallTasks(2));
    await writeFile(
      join(at("data"), "benchmark.json"),
      JSON.stringify({
        name: "letters",
        tasks: { guild: { metric: "exact-match" }, cargo: { metric: "rouge-l" } },
        orders: { there: ["guild", "cargo"], back: ["cargo", "guild"] },
      }),
    );
  });

  it("runs the variants of a bench file on all orders of a benchmark, and prints its tables", async () => {
    const file = at("variants.json");
    const half = { name: "half", method: "recurrent-kif", options: { keepFraction: 0.5, innerSteps: 3 } };
    await writeFile(file, JSON.stringify({ variants: ["sequential", half], seeds: [5], options }));
    const args = ["bench", "--config", file, "--methods", "half", "--data", "data", "--format", "markdown"];
    const { code, stdout, stderr } = await rkif(args, { cwd: folder.path });
    expect(code, stderr).to.equal(0);
    expect(stdout).to.match(/^\| method \| OP \| BWT \|/);
    expect(stdout).to.match(/^\| half \| .* 2\/2 \|$/m);
    expect(stdout).to.match(/^\| OP \| order there \| order back \| all \|$/m);
    // The default folder is named after the file; the run keeps the metric of each task.
    const run = join(at("bench"), "variants", "runs", "half", "order-there", "seed-5");
    const config = JSON.parse(await readFile(join(run, "config.json"), "utf8")) as Record<string, unknown>;
    expect(config).to.deep.include({ keepFraction: 0.5, innerSteps: 3, seed: 5, metric: null });
    const task = JSON.parse(await readFile(join(run, "tasks", "02-cargo", "task.json"), "utf8")) as unknown;
    expect(task).to.deep.include({ metric: "rouge-l" });
  });

  it("stopped by SIGINT saves, says so with code 130, and goes on by the same command", async () => {
    const args = ["bench", ...["--methods", "sequential,replay", "--orders", "there,back", "--seeds", "1"]];
    const command = [
      ...args,
      ...["--out", at("stopped"), "--json"],
      ...asFlags({ ...options, data: at("data") }),
    ];
    const stopped = await rkif(command, {
      onStderr: (text, kill) => {
        if (/\[1\/4\].*: OP/.test(text) && !/SIGINT/.test(text)) kill("SIGINT");
      },
    });
    expect(stopped.code, stopped.stderr).to.equal(130);
    expect(stopped.stdout).to.equal("");
    expect(stopped.stderr).to.match(/goes on with the same command/);
    const again = await rkif(command);
    expect(again.code, again.stderr).to.equal(0);
    expect(again.stderr).not.to.contain("[1/4]");
    const { cells } = JSON.parse(again.stdout) as BenchResults;
    expect(cells.map(({ order, state }) => [order, state])).to.deep.equal([
      ...[["there", "done"], ["there", "done"], ["back", "done"], ["back", "done"]], // prettier-ignore
    ]);
  });

  it("ends with code 1 where a cell failed, and says which and why", async () => {
    const model = await writeTinyCheckpoint(at("poisoned"), NaN);
    const args = [
      "bench",
      ...["--methods", "sequential", "--orders", "there", "--seeds", "1", "--out", at("bad")],
    ];
    const { code, stdout } = await rkif([
      ...args,
      ...asFlags({ ...options, model, data: at("data"), epochs: 4, evaluateBy: "generate" }),
    ]);
    expect(code).to.equal(1);
    expect(stdout).to.contain("0/1 (1 failed)");
    expect(stdout).to.match(/- sequential, order there, seed 1: at task guild: .*not finite.*\(NON_FINITE\)/);
  });

  for (const [what, args, message] of [
    ["nothing to compare", [], /expected --methods, or --config/],
    [
      "seeds that are none",
      ["--methods", "replay", "--seeds", "1,x"],
      /--seeds has "x"; expected whole numbers/,
    ],
    ["an unknown benchmark", ["--methods", "replay", "--benchmark", "supernl"], /Did you mean "superni"/],
    [
      "a benchmark whose data are missing",
      ["--methods", "replay", "--benchmark", "superni"],
      /no task "task1572".*github\.com\/circle-hit\/SAPT/,
    ],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const { code, stderr } = await rkif(["bench", ...args, "--data", at("data")]);
      expect(code).to.equal(1);
      expect(stderr).to.match(message);
    });
  }
});
