import { expect } from "chai";
import { access, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  differences,
  results,
  settings,
  smallTasks,
  temporaryFolder,
  writeTasks,
  writeTinyCheckpoint,
} from "../training/tiny-run.js";
import { asFlags, rkif } from "./rkif.js";

describe("rkif train", function () {
  this.timeout(60_000);
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  const order = "guild,mood,cargo";
  let options: Record<string, unknown>;
  let whole: Awaited<ReturnType<typeof results>>;

  before(async () => {
    const model = await writeTinyCheckpoint(at("model"));
    options = settings(model, { innerSteps: 3, outerSteps: 2, epochs: 1 });
    await writeTasks(at("data"), smallTasks(3));
    const { code, stderr } = await rkif([
      "train",
      at("whole"),
      ...asFlags({ ...options, data: at("data"), order }),
    ]);
    expect(code, stderr).to.equal(0);
    whole = await results(at("whole"));
  });

  it("adds a task to a finished run without the earlier tasks' data, as if it had been told of all from the start", async () => {
    const [guild, cargo, mood] = smallTasks(3);
    await writeTasks(at("old"), [guild!, mood!]);
    await writeTasks(at("new"), [cargo!]);
    const started = await rkif([
      "train",
      at("grown"),
      ...asFlags({ ...options, data: at("old"), order: "guild,mood" }),
    ]);
    expect(started.code, started.stderr).to.equal(0);
    await rm(at("old"), { recursive: true });

    const added = await rkif(["train", at("grown"), "--add", at("new"), "--json"]);
    expect(added.code, added.stderr).to.equal(0);
    expect(differences(await results(at("grown")), whole)).to.deep.equal([]);
    expect((JSON.parse(added.stdout) as { tasks: string[] }).tasks).to.deep.equal(order.split(","));
  });

  it("learns all tasks at once with the multi-task method, also where it was interrupted", async () => {
    const { innerSteps: _, outerSteps: __, ...shared } = options;
    const flags = asFlags({ ...shared, method: "multi-task", data: at("data"), order });
    const alone = await rkif(["train", at("together"), "--json", ...flags]);
    expect(alone.code, alone.stderr).to.equal(0);
    const { tasks, R, OP } = JSON.parse(alone.stdout) as { tasks: string[]; R: unknown[][]; OP: number };
    expect(tasks).to.deep.equal(order.split(","));
    expect(R.slice(0, 2)).to.deep.equal([Array(3).fill(null), Array(3).fill(null)]);
    expect(OP).to.be.a("number");

    const stopped = await rkif(["train", at("together-cut"), ...flags], { onStderr: interruptOnce() });
    expect(stopped.stderr).to.include("goes on with the same command");
    const goneOn = await rkif(["train", at("together-cut")]);
    expect(goneOn.code, goneOn.stderr).to.equal(0);
    expect(differences(await results(at("together-cut")), await results(at("together")))).to.deep.equal([]);

    await writeTasks(at("further"), smallTasks(4).slice(3));
    const added = await rkif(["train", at("together"), "--add", at("further")]);
    expect(added.code).to.not.equal(0);
    expect(added.stderr).to.include(
      "method multi-task learns all tasks at once and has learned guild, mood, cargo",
    );
  });

  it("goes on with an interrupted --add by the same command, and says so to another", async () => {
    const [guild, cargo, mood] = smallTasks(3);
    await writeTasks(at("two"), [guild!, mood!]);
    await writeTasks(at("third"), [cargo!]);
    await rkif(["train", at("cut"), ...asFlags({ ...options, data: at("two"), order: "guild,mood" })]);

    const stopped = await rkif(["train", at("cut"), "--add", at("third")], { onStderr: interruptOnce() });
    expect(stopped.code, stopped.stderr).to.equal(130);
    expect(stopped.stdout).to.equal("");

    const other = await rkif(["train", at("cut")]);
    expect(other.code).to.equal(1);
    expect(other.stderr).to.match(/task "cargo" was interrupted.*--add/);

    const again = await rkif(["train", at("cut"), "--add", at("third")]);
    expect(again.code, again.stderr).to.equal(0);
    expect(differences(await results(at("cut")), whole)).to.deep.equal([]);

    const finished = await rkif(["train", at("cut"), "--json"]);
    expect(finished.code, finished.stderr).to.equal(0);
    expect((JSON.parse(finished.stdout) as { tasks: string[] }).tasks).to.deep.equal(order.split(","));
  });

  it("goes on after an interruption by the same command, and by the folder alone, from any working folder", async () => {
    const command = ["train", at("again"), ...asFlags({ ...options, data: "data", order })];
    const first = await rkif(command, { cwd: folder.path, onStderr: interruptOnce() });
    expect(first.code, first.stderr).to.equal(130);
    expect(first.stderr).to.include("saved");
    const second = await rkif(command, { cwd: folder.path, onStderr: interruptOnce() });
    expect(second.code, second.stderr).to.equal(130);
    const last = await rkif(["train", at("again")]);
    expect(last.code, last.stderr).to.equal(0);
    expect(differences(await results(at("again")), whole)).to.deep.equal([]);
  });

  it("takes options from a file, flags before it, and tells nothing on stdout but the result", async () => {
    const file = at("config.json");
    const { innerSteps: _inner, outerSteps: _outer, ...shared } = options;
    await writeFile(
      file,
      JSON.stringify({
        ...shared,
        $schema: "x",
        seed: 5,
        data: at("data"),
        order: ["guild"],
        method: "replay",
      }),
    );
    const { code, stdout, stderr } = await rkif([
      ...["train", at("file"), "--config", file, "--json"],
      ...["--seed", "6", "--no-measure-forward-transfer"],
    ]);
    expect(code, stderr).to.equal(0);
    const kept = JSON.parse(await readFile(join(at("file"), "config.json"), "utf8")) as Record<
      string,
      unknown
    >;
    expect(kept).to.include({
      seed: 6,
      method: "replay",
      epochs: 1,
      measureForwardTransfer: false,
      loraRank: 8,
    });
    const result = JSON.parse(stdout) as { run: string; R: number[][] };
    expect(stdout.trimEnd().split("\n")).to.have.length(1);
    const matrix = JSON.parse(await readFile(join(at("file"), "matrix.json"), "utf8")) as object;
    expect(result).to.deep.equal({ run: at("file"), ...matrix });
    expect(stderr).to.include("guild");
  });

  it("refuses an order that does not begin with the learned tasks", async () => {
    const { code, stdout, stderr } = await rkif([
      "train",
      at("whole"),
      ...asFlags({ ...options, data: at("data"), order: "mood,guild,cargo" }),
    ]);
    expect(code).to.equal(1);
    expect(stdout).to.equal("");
    expect(stderr).to.match(
      /^rkif: the order is mood, guild, cargo, but the run has learned guild, mood, cargo/,
    );
  });

  it("names the options in which the configuration differs from the run's", async () => {
    const { code, stderr } = await rkif([
      "train",
      at("whole"),
      ...asFlags({ ...options, data: at("data"), order, loraRank: 4, threads: 2 }),
    ]);
    expect(code).to.equal(1);
    expect(stderr).to.include("(loraRank: 8 there, 4 given)");
    expect(differences(await results(at("whole")), whole)).to.deep.equal([]);
  });

  const wrong: [string, string[], RegExp][] = [
    [
      "a value of the wrong type",
      ["--learning-rate", "fast"],
      /--learning-rate is "fast"; expected a number/,
    ],
    ["a value out of range", ["--epochs", "0"], /epochs is 0/],
    [
      "an option of another method",
      ["--method", "sequential", "--inner-steps", "3"],
      /innerSteps.*recurrent-kif/,
    ],
    ["an unknown method", ["--method", "sequentail"], /method is "sequentail".*Did you mean "sequential"/],
    ["an unknown preset", ["--preset", "papper"], /preset is "papper".*Did you mean "paper"/],
    ["a checkpoint that is not there", ["--model", "/nowhere"], /\/nowhere/],
    ["options besides --add", ["--add", "x", "--seed", "1"], /seed.*cannot be given with --add/],
  ];
  for (const [what, flags, message] of wrong) {
    it(`refuses ${what} in one message on stderr, with exit code 1`, async () => {
      const { code, stdout, stderr } = await rkif(["train", at("none"), "--data", at("data"), ...flags]);
      expect({ code, stdout }).to.deep.equal({ code: 1, stdout: "" });
      expect(stderr)
        .to.match(message)
        .and.to.match(/^rkif: /);
      expect(stderr, "a stack is for defects").to.not.include("    at ");
      expect(await isThere(join(at("none"), "config.json"))).to.equal(false);
    });
  }

  it("refuses an unknown task before the first is learned", async () => {
    const { code, stdout, stderr } = await rkif([
      ...["train", at("typo")],
      ...asFlags({ ...options, data: at("data"), order: "guild,caro" }),
    ]);
    expect({ code, stdout }).to.deep.equal({ code: 1, stdout: "" });
    expect(stderr).to.match(/^rkif: .*"caro".*Did you mean "cargo"/);
    expect(await isThere(join(at("typo"), "metrics.jsonl"))).to.equal(false);
  });

  it("names the configuration file in what it refuses", async () => {
    const file = at("wrong.json");
    await writeFile(file, JSON.stringify({ data: at("data"), epoch: 2 }));
    const { code, stderr } = await rkif(["train", at("none"), "--config", file]);
    expect(code).to.equal(1);
    expect(stderr).to.equal(`rkif: ${file}: "epoch": there is no such option. Did you mean "epochs"?\n`);
  });

  it("says which option is missing where no data are named", async () => {
    const { code, stderr } = await rkif(["train", at("none"), "--seed", "1"]);
    expect(code).to.equal(1);
    expect(stderr).to.match(/data is missing/);
  });
});

/** SIGINT once, when the first training step has been shown. */
function interruptOnce(): (text: string, kill: (signal: NodeJS.Signals) => void) => void {
  let sent = false;
  return (text, kill) => {
    if (sent || !/training|untrained|after/.test(text)) return;
    sent = true;
    kill("SIGINT");
  };
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
