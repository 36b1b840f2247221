import { expect } from "chai";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createRequire } from "node:module";
import {
  learnAll,
  settings,
  smallTasks,
  temporaryFolder,
  writeTasks,
  writeTinyCheckpoint,
} from "../training/tiny-run.js";
import { flagOf } from "../../lib/cli/flags.js";
import { allOptions } from "../../lib/training/config.js";
import { rkif } from "./rkif.js";

describe("rkif", function () {
  this.timeout(30_000);

  it("shows help for every command and exits with 0", async () => {
    for (const command of [
      ["train"],
      ["eval"],
      ["generate"],
      ["demo"],
      ["libtorch"],
      ["libtorch", "install"],
      [],
    ]) {
      const { code, stdout, stderr } = await rkif([...command, "--help"]);
      expect({ code, stderr }, command.join(" ")).to.deep.equal({ code: 0, stderr: "" });
      expect(stdout).to.match(new RegExp(`^Usage: rkif ${command.join(" ")}`.trimEnd()));
    }
  });

  it("tells its version", async () => {
    const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };
    expect(await rkif(["--version"])).to.include({ code: 0, stdout: `${version}\n` });
  });

  it("has a flag with a description for every option", async () => {
    const { stdout } = await rkif(["train", "--help"]);
    for (const { name, schema } of allOptions()) {
      expect(stdout).to.match(new RegExp(`--(no-)?${flagOf(name)}\\b`));
      expect(stdout.replace(/\s+/g, " ")).to.include(schema.description!.slice(0, 40));
    }
  });

  const wrong: [string, string[], RegExp][] = [
    ["an unknown command", ["tain"], /unknown command 'tain'[^]*train/],
    ["an unknown option", ["train", "run", "--epoch", "2"], /unknown option '--epoch'[^]*--epochs/],
    ["a missing argument", ["train"], /missing required argument 'run'/],
    ["a missing value", ["train", "run", "--seed"], /argument missing/],
    ["an argument too many", ["eval", "extra"], /too many arguments/],
    ["no command", [], /Usage: rkif/],
  ];
  for (const [what, args, message] of wrong) {
    it(`answers ${what} on stderr, with exit code 2`, async () => {
      const { code, stdout, stderr } = await rkif(args);
      expect({ code, stdout }).to.deep.equal({ code: 2, stdout: "" });
      expect(stderr).to.match(message);
    });
  }

  it("refuses seeds that are none", async () => {
    for (const seeds of ["1,x", "1.5", "-1", ""]) {
      const { code, stdout, stderr } = await rkif(["demo", `--seeds=${seeds}`]);
      expect({ code, stdout }, seeds).to.deep.equal({ code: 1, stdout: "" });
      expect(stderr).to.match(/^rkif: --seeds is/);
    }
  });
});

describe("rkif eval", function () {
  this.timeout(30_000);
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  let common: string[];
  let model: string;
  before(async () => {
    model = await writeTinyCheckpoint(at("model"));
    await writeTasks(at("data"), smallTasks(2));
    common = ["eval", "--model", model, "--data", at("data"), "--evaluate-by", "score"];
  });

  interface Result {
    tasks: { task: string; accuracy: number; correct: number; total: number }[];
    mean: number;
  }

  it("measures the base model, and with an adapter what the run's matrix says", async () => {
    const run = at("run");
    await learnAll(run, settings(model, { method: "sequential" }), smallTasks(2));
    const matrix = await readFile(join(run, "matrix.json"), "utf8");
    const { R, baseline } = JSON.parse(matrix) as { R: number[][]; baseline: number[] };

    const flags = [...common, "--order", "guild,cargo", "--json"];
    const base = await rkif(flags);
    expect(base.code, base.stderr).to.equal(0);
    const untrained = JSON.parse(base.stdout) as Result;
    // The first task's baseline was measured with its labels alone, as the only ones then known.
    expect(untrained.tasks[1]!.accuracy).to.equal(baseline[1]);

    const tuned = await rkif([...flags, "--adapter", join(run, "adapter")]);
    expect(tuned.code, tuned.stderr).to.equal(0);
    const { tasks, mean } = JSON.parse(tuned.stdout) as Result;
    expect(tasks.map(({ task, accuracy }) => [task, accuracy])).to.deep.equal([
      ["guild", R[1]![0]],
      ["cargo", R[1]![1]],
    ]);
    expect(mean).to.be.closeTo((R[1]![0]! + R[1]![1]!) / 2, 1e-12);
    expect(tuned.stdout.trimEnd()).to.not.include("\n");
    expect(JSON.stringify(tasks)).to.not.equal(JSON.stringify(untrained.tasks));
  });

  it("prints a table without --json, and progress on stderr alone", async () => {
    const { code, stdout, stderr } = await rkif([...common, "--test-limit", "4"]);
    expect(code, stderr).to.equal(0);
    expect(stdout)
      .to.match(/guild.*\/4/)
      .and.match(/cargo.*\/4/)
      .and.match(/mean/);
    expect(stdout).to.not.include("evaluating");
    expect(stderr).to.include("cargo: evaluating");
  });

  it("needs no training data", async () => {
    await cp(at("data"), at("test-only"), { recursive: true });
    await rm(join(at("test-only"), "train"), { recursive: true });
    const { code, stderr } = await rkif([
      "eval",
      "--model",
      model,
      "--data",
      at("test-only"),
      "--max-new-tokens",
      "2",
    ]);
    expect(code, stderr).to.equal(0);
  });

  it("refuses a wrong choice, a missing adapter and a broken record in one message each", async () => {
    await writeTasks(at("broken"), smallTasks(1));
    await writeFile(
      join(at("broken"), "test", "guild.json"),
      JSON.stringify([{ input: "a", output: "b" }, { input: "c" }]),
    );
    for (const [flags, message] of [
      [["--base-type", "float64"], /baseType is "float64".*bfloat16/],
      [["--adapter", at("nowhere")], /nowhere/],
      [["--data", at("broken")], /guild\.json: record 1/],
      [["--data", at("nothing")], /nothing: there is no such folder/],
    ] as const) {
      const { code, stdout, stderr } = await rkif([...common, ...flags]);
      expect({ code, stdout }, flags.join(" ")).to.deep.equal({ code: 1, stdout: "" });
      expect(stderr)
        .to.match(message)
        .and.to.match(/^rkif: /)
        .and.not.include("    at ");
    }
  });
});
