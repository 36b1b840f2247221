import { expect } from "chai";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generateText } from "../../lib/evaluation/generate-text.js";
import { loadModel } from "../../lib/models/trained-model.js";
import {
  learnAll,
  settings,
  smallTasks,
  temporaryFolder,
  writeTinyCheckpoint,
} from "../training/tiny-run.js";
import { rkif } from "./rkif.js";

describe("rkif generate", function () {
  this.timeout(30_000);
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  const [guild] = smallTasks(1);
  const prompts = guild!.test.slice(0, 3).map(({ input }) => input.replaceAll("\n", " "));
  let common: string[];
  let expected: string[];
  before(async () => {
    const model = await writeTinyCheckpoint(at("model"));
    common = ["generate", "--model", model, "--max-new-tokens", "12"];
    const loaded = await loadModel({ model, trainable: { kind: "none" } });
    expected = await generateText(loaded, prompts, { maxNewTokens: 12 });
    loaded.model.dispose();
  });

  it("prints the answer to a prompt, and nothing else, on stdout", async () => {
    const { code, stdout, stderr } = await rkif([...common, "--prompt", prompts[0]!]);
    expect({ code, stdout }, stderr).to.deep.equal({ code: 0, stdout: `${expected[0]}\n` });
    const piped = await rkif([...common, "--prompt", "-"], { stdin: `${prompts[0]}\n` });
    expect(piped.stdout).to.equal(stdout);
    const json = await rkif([...common, "--prompt", prompts[0]!, "--json"]);
    expect(JSON.parse(json.stdout)).to.deep.equal({ prompt: prompts[0], text: expected[0] });
  });

  it("answers the lines of a file in their order, whatever the batches", async () => {
    await writeFile(at("prompts.txt"), `${prompts.join("\r\n")}\n\n`);
    const wanted = prompts.map((prompt, i) => `${JSON.stringify({ prompt, text: expected[i] })}\n`).join("");
    for (const tokens of ["1", "8192"]) {
      const flags = ["--file", at("prompts.txt"), "--evaluation-tokens", tokens];
      const { code, stdout, stderr } = await rkif([...common, ...flags]);
      expect({ code, stdout }, stderr).to.deep.equal({ code: 0, stdout: wanted });
    }
    const piped = await rkif([...common, "--file", "-"], { stdin: prompts.join("\n") });
    expect(piped.stdout).to.equal(wanted);
  });

  it("answers task records as training writes them, with an adapter", async () => {
    const run = at("run");
    await learnAll(run, settings(at("model"), { method: "sequential" }), smallTasks(1));
    await writeFile(at("records.json"), JSON.stringify(guild!.test.slice(0, 4)));
    const flags = ["--file", at("records.json"), "--adapter", join(run, "adapter")];
    const { code, stdout, stderr } = await rkif([...common, ...flags]);
    expect(code, stderr).to.equal(0);
    const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line) as { text: string }); // prettier-ignore
    const loaded = await loadModel({
      model: at("model"),
      trainable: { kind: "none" },
      adapter: join(run, "adapter"),
    });
    const answers = await generateText(loaded, guild!.test.slice(0, 4), { maxNewTokens: 12 });
    loaded.model.dispose();
    expect(lines).to.deep.equal(
      guild!.test.slice(0, 4).map((record, i) => ({ ...record, text: answers[i] })),
    );
  });

  it("draws the same for the same seed, and takes the best at temperature 0", async () => {
    const draw = async (...flags: string[]): Promise<string> =>
      (await rkif([...common, "--prompt", prompts[0]!, ...flags])).stdout;
    const drawn = await draw("--temperature", "2", "--seed", "5");
    expect(await draw("--temperature", "2", "--seed", "5")).to.equal(drawn);
    expect(await draw("--temperature", "2", "--seed", "6")).to.not.equal(drawn);
    expect(await draw("--temperature", "0")).to.equal(`${expected[0]}\n`);
  });

  it("refuses what does not fit together in one message each", async () => {
    const cases: [string[], RegExp][] = [
      [[], /there is nothing to answer; expected either --prompt TEXT or --file FILE/],
      [["--prompt", "a", "--file", "b"], /both given/],
      [["--prompt", ""], /the prompt is empty/],
      [["--prompt", "a", "--seed", "1"], /--seed has no effect where the best token is taken/],
      [["--prompt", "a", "--temperature", "0", "--top-p", "0.5"], /--top-p has no effect/],
      [["--prompt", "a", "--top-p", "1.5"], /--top-p is "1\.5"; expected a number above 0, at most 1/],
      [["--prompt", "a", "--temperature", "warm"], /--temperature is "warm"; expected a number/],
      [["--prompt", "a", "--prompt-template", "chat"], /"chat", which is for decoders/],
      [["--file", at("nowhere.txt")], /nowhere\.txt: cannot be read/],
      [["--file", at("nowhere.json")], /nowhere\.json: cannot be read/],
    ];
    for (const [flags, message] of cases) {
      const { code, stdout, stderr } = await rkif([...common, ...flags]);
      expect({ code, stdout }, flags.join(" ")).to.deep.equal({ code: 1, stdout: "" });
      expect(stderr)
        .to.match(message)
        .and.to.match(/^rkif: /)
        .and.not.include("    at ");
    }
  });
});
