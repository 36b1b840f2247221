import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { parseSize } from "../../lib/models/size.js";
import { failure } from "../models/tiny-safetensors.js";
import { rkif } from "./rkif.js";

const fixtures = join(import.meta.dirname, "../fixtures/data");
const model = join(fixtures, "models/t5");
const adapter = join(fixtures, "lora/t5");

describe("rkif merge", function () {
  this.timeout(30_000);
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "rkif-cli-merge-"));
  });
  after(() => rm(folder, { recursive: true }));

  it("writes a merged checkpoint, in files of the size asked for", async () => {
    const out = join(folder, "merged");
    const args = ["merge", "--model", model, "--adapter", adapter, "--out", out];
    const { code, stdout, stderr } = await rkif([...args, "--max-shard-size", "40KB", "--json"]);
    expect(code, stderr).to.equal(0);
    const report = JSON.parse(stdout) as { out: string; files: string[]; modules: number; bytes: number };
    expect(report).to.include({ out, modules: 12 });
    expect(report.files).to.have.lengthOf(Math.ceil(report.bytes / 40e3));
    expect(await readdir(out)).to.have.members([
      "config.json",
      "model.safetensors.index.json",
      ...report.files,
    ]);
    const again = await rkif(args);
    expect(again).to.include({ code: 1, stdout: "" });
    expect(again.stderr).to.contain(`${out}: is not empty`);
  });

  it("tells in one line what it wrote", async () => {
    const out = join(folder, "plain");
    const { code, stdout } = await rkif(["merge", "--model", model, "--adapter", adapter, "--out", out]);
    expect(code).to.equal(0);
    expect(stdout).to.equal(`${out}: 0 MB in one file, 12 layers merged\n`);
  });

  it("needs to know model, adapter and folder", async () => {
    const { code, stderr } = await rkif(["merge", "--model", model, "--adapter", adapter]);
    expect(code).to.equal(2);
    expect(stderr).to.contain("--out <folder>");
  });

  it("reads sizes as transformers does", async () => {
    const sizes: [string, number][] = [
      ["5GB", 5e9],
      ["500mb", 5e8],
      ["2GiB", 2 ** 31],
      ["1.5 KiB", 1536],
      ["64", 64],
    ];
    for (const [text, bytes] of sizes) expect(parseSize(text, "--max-shard-size"), text).to.equal(bytes);
    for (const text of ["", "GB", "5 TB", "-1GB", "0", "0.1", "1e9", "5GBx"]) {
      const error = await failure(() => parseSize(text, "--max-shard-size"));
      expect(error, text).to.include({ code: "INVALID_ARGUMENT" });
      expect(error.message).to.contain(JSON.stringify(text)).and.contain("5GB");
    }
  });
});
