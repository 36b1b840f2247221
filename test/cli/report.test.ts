import { expect } from "chai";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeRun } from "../report/made-run.js";
import { rkif } from "./rkif.js";

describe("rkif report", () => {
  let root: string;
  before(async () => void (root = await mkdtemp(join(tmpdir(), "rkif-cli-report-"))));
  after(() => rm(root, { recursive: true, force: true }));

  it("writes report.html into the folder, or where it is asked to, and says where", async () => {
    const run = await makeRun(join(root, "run"));
    const { code, stdout, stderr } = await rkif(["report", run]);
    expect({ code, stdout, stderr }).to.deep.equal({
      code: 0,
      stdout: "",
      stderr: `wrote ${join(run, "report.html")}\n`,
    });
    const page = await readFile(join(run, "report.html"), "utf8");
    expect(page).to.match(/^<!doctype html>/);
    expect((await rkif(["report", run, "--out", "a/b.html"], { cwd: root })).code).to.equal(0);
    expect(await readFile(join(root, "a", "b.html"), "utf8")).to.equal(page);
  });

  it("prints figures as JSON, writes them as CSV, and then no HTML unless it is asked to", async () => {
    const run = await makeRun(join(root, "figures"));
    const { code, stdout } = await rkif(["report", run, "--json", "--csv", join(root, "csv")]);
    expect(code).to.equal(0);
    const figures = JSON.parse(stdout) as { format: number; title: string };
    expect(figures).to.include({ format: 1, title: "figures" });
    expect(await readdir(join(root, "csv"))).to.include.members([
      "accuracy.csv",
      "comparison.csv",
      "masks.csv",
    ]);
    expect(await readdir(run)).to.not.include("report.html");
  });

  it("says what is wrong with a folder without runs", async () => {
    const { code, stderr } = await rkif(["report", join(root, "nowhere")]);
    expect(code).to.equal(1);
    expect(stderr).to.match(/^rkif: .*nowhere is no folder; expected that of a run/);
  });
});
