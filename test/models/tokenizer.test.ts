import { join } from "node:path";
import { expect } from "chai";
import { Tokenizer } from "../../lib/models/tokenizer.js";
import { folderWith, rejection, removeFolders } from "../data/folder.js";
import { tinyTokenizer, vocabulary } from "./tiny-tokenizer.js";

const open = async (files: Record<string, string> = {}): Promise<Tokenizer> =>
  Tokenizer.open(await folderWith({ "tokenizer.json": tinyTokenizer(), ...files }));

describe("Tokenizer", () => {
  afterEach(removeFolders);

  it("encodes with and without special tokens, and decodes back", async () => {
    const tokenizer = await open();
    const texts = ["the cat sat", "", "on the mat", "a dog"];
    const expected = [[3, 4, 5], [], [6, 3, 7], [2, 2]];
    const plain = await tokenizer.encode(texts, { specialTokens: false });
    expect(plain.map((ids) => [...ids])).to.deep.equal(expected);
    expect(plain[0]).to.be.instanceOf(Int32Array);
    const whole = await tokenizer.encode(texts);
    expect(whole.map((ids) => [...ids])).to.deep.equal(expected.map((ids) => [...ids, 1]));
    expect(await tokenizer.decode(whole[2]!)).to.equal("on the mat");
    expect(await tokenizer.decode(whole[2]!, false)).to.equal("on the mat </s>");
    expect(await tokenizer.decodeBatch(whole.slice(0, 3))).to.deep.equal(["the cat sat", "", "on the mat"]);
    expect(await tokenizer.decodeBatch([])).to.deep.equal([]);
    expect(await tokenizer.encode([])).to.deep.equal([]);
  });

  it("keeps the order of more texts than go into one call", async () => {
    const tokenizer = await open();
    const texts = Array.from({ length: 1000 }, (_, i) => vocabulary[3 + (i % 5)]!);
    const ids = await tokenizer.encode(texts, { specialTokens: false });
    expect(ids.map(([id]) => id)).to.deep.equal(texts.map((text) => vocabulary.indexOf(text)));
  });

  it("knows what the template adds", async () => {
    expect(await open()).to.include({ size: vocabulary.length });
    expect((await open()).suffix).to.deep.equal([1]);
    const around = await open({
      "tokenizer.json": tinyTokenizer({ template: { before: ["<pad>"], after: ["<unk>", "</s>"] } }),
    });
    expect([around.prefix, around.suffix]).to.deep.equal([[0], [2, 1]]);
    const bare = await open({ "tokenizer.json": tinyTokenizer({ template: {} }) });
    expect([bare.prefix, bare.suffix]).to.deep.equal([[], []]);
  });

  it("switches the file's own truncation and padding off", async () => {
    const truncation = { direction: "Right", max_length: 2, strategy: "LongestFirst", stride: 0 };
    const padding = {
      strategy: { Fixed: 9 },
      direction: "Right",
      pad_to_multiple_of: null,
      pad_id: 0,
      pad_type_id: 0,
      pad_token: "<pad>",
    };
    const tokenizer = await open({ "tokenizer.json": tinyTokenizer({ truncation, padding }) });
    expect([...(await tokenizer.encode(["the cat sat on"]))[0]!]).to.deep.equal([3, 4, 5, 6, 1]);
  });

  it("finds ids by token, and by role where a file beside it names the token, in either spelling", async () => {
    const tokenizer = await open({
      "tokenizer_config.json": JSON.stringify({
        eos_token: { content: "</s>", lstrip: false },
        pad_token: null,
      }),
      "special_tokens_map.json": JSON.stringify({ eos_token: "<unk>", pad_token: "<pad>" }),
    });
    expect(tokenizer.idOf("mat")).to.equal(7);
    expect(tokenizer.idOf("dog")).to.equal(undefined);
    expect(tokenizer.specialId("eos")).to.equal(1);
    expect(tokenizer.specialId("pad")).to.equal(0);
    expect(() => tokenizer.specialId("bos")).to.throw('no bos token is known; expected "bos_token"');
  });

  it("names the file in every refusal", async () => {
    const good = tinyTokenizer();
    const cases: [files: Record<string, string>, file: string, reason: RegExp][] = [
      [{ "tokenizer.json": "{" }, "tokenizer.json", /not a tokenizer.json .*EOF/],
      [{ "tokenizer.json": "{}" }, "tokenizer.json", /Model missing/],
      [{ "other.json": good }, "tokenizer.json", /there is no such file/],
      [{ "tokenizer.json": good, "tokenizer_config.json": "[" }, "tokenizer_config.json", /not JSON/],
      [
        { "tokenizer.json": good, "tokenizer_config.json": "[]" },
        "tokenizer_config.json",
        /expected a JSON object/,
      ],
      [
        { "tokenizer.json": good, "special_tokens_map.json": '{"eos_token": "<eos>"}' },
        "special_tokens_map.json",
        /"eos_token" is "<eos>", which is no token/,
      ],
    ];
    for (const [files, file, reason] of cases) {
      const folder = await folderWith(files);
      const error = await rejection(Tokenizer.open(folder));
      expect(error.code).to.equal("CHECKPOINT_INVALID");
      expect(error.message).to.contain(`${join(folder, file)}: `);
      expect(error.message).to.match(reason);
    }
    const missing = await rejection(Tokenizer.open(join(await folderWith({}), "nowhere.json")));
    expect(missing.message).to.contain("nowhere.json: there is no such file");
  });
});
