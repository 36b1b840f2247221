import { expect } from "chai";
import { fileURLToPath } from "node:url";
import { Instruction, type InstructionOptions } from "../../../lib/data/formats/instruction.js";
import { hash } from "../../../lib/data/random.js";
import { alpaca, ownTemplate, plain } from "../../../lib/data/prompts/built-in.js";
import type { TaskRecord } from "../../../lib/data/records.js";
import { Tokenizer } from "../../../lib/models/tokenizer.js";
import { embeddedModel } from "../../../lib/models/trained-model.js";
import { rejection } from "../folder.js";
import { LetterTokenizer } from "./letters.js";

const unigram = fileURLToPath(new URL("../../fixtures/data/tokenizers/unigram", import.meta.url));

const open = (
  tokenizer: Pick<Tokenizer, "encode" | "prefix" | "file">,
  options: Partial<InstructionOptions> = {},
): Promise<Instruction> =>
  Instruction.open(tokenizer, { template: plain, cutoffTokens: 512, endTokenId: 2, ...options });

const question = ownTemplate("{instruction}Q:{input} A:");

describe("instruction records", () => {
  it("are prompt, answer and end token, with the loss on answer and end token", async () => {
    const letters = new LetterTokenizer([" World", "World", "answer:"]);
    const { records } = await (
      await open(letters, { template: ownTemplate("{input}\nanswer:") })
    ).encode([
      { input: "x", output: "World" },
      { input: "y", output: "" },
    ]);
    const world = letters.id("World");
    const head = (input: string): number[] => [1, ...letters.ids(" ", input, "\n", "answer:")];
    expect([...records[0]!.inputIds]).to.deep.equal([...head("x"), world, 2]);
    expect([...records[0]!.labels]).to.deep.equal([-100, -100, -100, -100, -100, world, 2]);
    expect([...records[1]!.inputIds]).to.deep.equal([...head("y"), 2]);
    expect([...records[1]!.labels]).to.deep.equal([-100, -100, -100, -100, -100, 2]);
    expect(records.map(({ key }) => key)).to.deep.equal([0, 1]);
  });

  it("give a token across the seam to the answer", async () => {
    const letters = new LetterTokenizer(["ab"]);
    const { records } = await (await open(letters)).encode([{ input: "xa", output: "b" }]);
    expect([...records[0]!.inputIds]).to.deep.equal([1, ...letters.ids(" ", "x", "ab"), 2]);
    expect([...records[0]!.labels]).to.deep.equal([-100, -100, -100, letters.id("ab"), 2]);
  });

  it("never predict a record's first token", async () => {
    const letters = new LetterTokenizer([" ab"], []);
    const { records } = await (await open(letters)).encode([{ input: "a", output: "b" }]);
    expect([...records[0]!.labels]).to.deep.equal([-100, 2]);
  });

  it("score candidates as they stand behind a prompt in training", async () => {
    const letters = new LetterTokenizer([" World", "World"]);
    const format = await open(letters, { template: ownTemplate("{input}\n") });
    expect(await format.encodeCandidates(["World", "no"], false)).to.deep.equal([
      Int32Array.from(letters.ids("World")),
      Int32Array.from(letters.ids("n", "o")),
    ]);
    expect(await format.encodeCandidates(["World"], true)).to.deep.equal([
      Int32Array.from([letters.id("World"), 2]),
    ]);
    expect((await letters.encode(["World"]))[0]).to.deep.equal(Int32Array.of(letters.id(" World")));
    // Also where a prompt ends with the record's own text.
    expect(await (await open(letters)).encodeCandidates(["World"], false)).to.deep.equal([
      Int32Array.of(letters.id("World")),
    ]);
  });

  for (const [name, folder] of [
    ["unigram", unigram],
    ["byte-level", embeddedModel],
  ] as const) {
    it(`are coded as one text by a real tokenizer (${name}), their candidates like their answers`, async () => {
      const tokenizer = await Tokenizer.open(folder);
      const format = await open(tokenizer, { template: alpaca, endTokenId: 1 });
      const records: TaskRecord[] = [
        { instruction: "Name the mood.", input: "I am glad today.", output: "World" },
        { input: "What is the cargo?", output: "two words" },
      ];
      const encoded = await format.encode(records);
      const { prompts } = await format.encodePrompts(records);
      const answers = await format.encodeCandidates(records.map(({ output }) => output), true); // prettier-ignore
      encoded.records.forEach(({ inputIds, labels }, i) => {
        const first = labels.findIndex((label) => label !== -100);
        expect(inputIds.slice(0, first)).to.deep.equal(prompts[i]);
        expect(labels.slice(first)).to.deep.equal(answers[i]);
        expect(inputIds.slice(first)).to.deep.equal(answers[i]);
      });
      const whole = alpaca.writer(records[0]!, "")(records[0]!) + "World";
      const [coded] = await tokenizer.encode([whole], { specialTokens: false });
      expect([...encoded.records[0]!.inputIds]).to.deep.equal([...coded!, 1]);
    });
  }

  describe("that are too long", () => {
    const letters = new LetterTokenizer();
    const textOf = async (ids: Int32Array): Promise<string> =>
      letters.decode(ids.filter((id) => id !== -100));

    it("lose the end of the input, then of the instruction, and keep template, answer and end token", async () => {
      const record = { instruction: "12345", input: "abcdefgh", output: "yes" };
      // BOS, the space before a text, "12345Q:abcdefgh A:" and "yes", the end token.
      const full = 2 + 18 + 3 + 1;
      const expected = new Map([
        [full, "12345Q:abcdefgh A:yes"],
        [full - 1, "12345Q:abcdefg A:yes"],
        [full - 7, "12345Q:a A:yes"],
        [full - 8, "12345Q: A:yes"],
        [full - 9, "1234Q: A:yes"],
        [full - 13, "Q: A:yes"],
      ]);
      for (const [cutoffTokens, text] of expected) {
        const format = await open(letters, { template: question, cutoffTokens });
        const { records, cutSources, cutTargets } = await format.encode([record]);
        expect(await textOf(records[0]!.inputIds), String(cutoffTokens)).to.equal(text);
        expect(records[0]!.inputIds.length).to.equal(cutoffTokens);
        expect(await textOf(records[0]!.labels)).to.equal("yes");
        expect(records[0]!.inputIds.at(-1)).to.equal(2);
        expect([cutSources, cutTargets]).to.deep.equal([cutoffTokens === full ? 0 : 1, 0]);
      }
    });

    it("lose the end of an answer that does not fit alone, and are counted", async () => {
      const format = await open(letters, { template: question, cutoffTokens: 12 });
      const encoded = await format.encode([
        { instruction: "1", input: "abc", output: "0123456789" },
        { input: "a", output: "b" },
      ]);
      expect(await textOf(encoded.records[0]!.inputIds)).to.equal("Q: A:0123");
      expect(await textOf(encoded.records[0]!.labels)).to.equal("0123");
      expect(encoded.records[0]!.labels.at(-1)).to.equal(2);
      expect([encoded.cutSources, encoded.cutTargets]).to.deep.equal([1, 1]);
    });

    it("fit to the token, many at once", async () => {
      const format = await open(letters, { template: question, cutoffTokens: 40 });
      const records = Array.from({ length: 50 }, (_, i) => ({
        instruction: "i".repeat(hash(1, i) % 20),
        input: "\u{1f980}x".repeat(hash(2, i) % 20) + "y",
        output: "z".repeat(hash(3, i) % 25),
      }));
      const { records: encoded, cutSources } = await format.encode(records);
      let cut = 0;
      for (const [i, { inputIds, labels }] of encoded.entries()) {
        const whole =
          2 + question.writer(records[i]!, "")(records[i]!).length + records[i]!.output.length + 1;
        cut += whole > 40 ? 1 : 0;
        // A crab is two letters here and goes as a whole.
        expect(inputIds.length).to.be.within(Math.min(39, whole), Math.min(40, whole));
        expect(await textOf(labels)).to.equal(records[i]!.output);
        expect(await textOf(inputIds)).to.not.match(/[\ud800-\udbff](?![\udc00-\udfff])/);
      }
      expect(cutSources).to.equal(cut).and.to.be.within(5, 45);
    });

    it("may be longer than a function's arguments", async () => {
      const format = await open(letters, { template: question, cutoffTokens: 40 });
      const { records } = await format.encode([{ input: "x".repeat(300_000), output: "y" }]);
      expect(records[0]!.inputIds.length).to.equal(40);
      const whole = await open(letters, { template: question, cutoffTokens: Number.MAX_SAFE_INTEGER });
      expect((await whole.encodePrompts([{ input: "x".repeat(300_000) }])).prompts[0]!.length).to.be.above(
        3e5,
      );
    });

    it("may use the whole cutoff where there is only a prompt", async () => {
      const format = await open(letters, { template: question, cutoffTokens: 12 });
      const { prompts, cut } = await format.encodePrompts([{ input: "abcdefgh" }, { input: "a" }]);
      expect(await Promise.all(prompts.map(textOf))).to.deep.equal(["Q:abcde A:", "Q:a A:"]);
      expect(prompts[0]!.length).to.equal(12);
      expect(cut).to.equal(1);
    });
  });

  it("are refused where the cutoff has no room, where nothing ends an answer, and where a prompt is empty", async () => {
    const letters = new LetterTokenizer([], []);
    const narrow = await rejection(open(letters, { template: question, cutoffTokens: 7 }));
    expect(narrow).to.include({ code: "CONFIG_INVALID" });
    expect(narrow.message).to.match(/cutoffTokens is 7; expected a whole number of at least 8/);
    // It can be asked all the same.
    const asked = await open(letters, { endTokenId: null });
    expect((await asked.encodePrompts([{ input: "a" }])).prompts).to.have.length(1);
    const endless = await rejection(asked.encode([{ input: "a", output: "b" }]));
    expect(endless).to.include({ code: "CONFIG_INVALID" });
    expect(endless.message).to.match(/letters\/tokenizer\.json: no end token is known/);
    const none = { ...letters, encode: () => Promise.resolve([new Int32Array()]), file: "none.json" };
    const format = await open(letters);
    const silent = await open({ prefix: [], file: none.file, encode: none.encode });
    expect(await format.encodePrompts([{ input: "a" }])).to.include({ cut: 0 });
    const empty = await rejection(silent.encodePrompts([{ input: "a" }]));
    expect(empty.message).to.match(/the prompt of record 0 has no tokens in none\.json/);
  });
});
