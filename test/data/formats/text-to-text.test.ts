import { expect } from "chai";
import type { EncodedRecords } from "../../../lib/data/formats/record-format.js";
import { TextToText, type TextToTextOptions } from "../../../lib/data/formats/text-to-text.js";
import { alpaca } from "../../../lib/data/prompts/built-in.js";
import type { TaskRecord } from "../../../lib/data/records.js";
import { Tokenizer } from "../../../lib/models/tokenizer.js";
import { tinyTokenizer, type TinyTokenizer } from "../../models/tiny-tokenizer.js";
import { folderWith, rejection, removeFolders } from "../folder.js";

async function open(
  options: Partial<TextToTextOptions> = {},
  tokenizer: TinyTokenizer = {},
): Promise<TextToText> {
  const opened = await Tokenizer.open(await folderWith({ "tokenizer.json": tinyTokenizer(tokenizer) }));
  return new TextToText(opened, { endTokenId: 1, ...options });
}

async function encode(
  records: TaskRecord[],
  options: Partial<TextToTextOptions> = {},
  tokenizer: TinyTokenizer = {},
): Promise<EncodedRecords> {
  return (await open(options, tokenizer)).encode(records);
}

const lists = ({ records }: EncodedRecords): number[][][] =>
  records.map(({ inputIds, labels }) => [[...inputIds], [...labels]]);

const records: TaskRecord[] = [
  { instruction: "the cat ", input: "sat on", output: "the mat" },
  { input: "the", output: "" },
];

describe("text to text", () => {
  afterEach(removeFolders);

  it("joins instruction and input, ends prompts and outputs with the end token, numbers the records", async () => {
    const encoded = await encode(records);
    expect(lists(encoded)).to.deep.equal([
      [
        [3, 4, 5, 6, 1],
        [3, 7, 1],
      ],
      [[3, 1], [1]],
    ]);
    expect(encoded.records.map(({ key }) => key)).to.deep.equal([0, 1]);
    expect([encoded.cutSources, encoded.cutTargets]).to.deep.equal([0, 0]);
  });

  it("cuts text at the end and keeps the end token, and counts what was cut", async () => {
    const encoded = await encode(records, { sourceTokens: 3, targetTokens: 2 });
    expect(lists(encoded)).to.deep.equal([
      [
        [3, 4, 1],
        [3, 1],
      ],
      [[3, 1], [1]],
    ]);
    expect([encoded.cutSources, encoded.cutTargets]).to.deep.equal([1, 1]);
    const exact = await encode(records, { sourceTokens: 5, targetTokens: 3 });
    expect([exact.cutSources, exact.cutTargets]).to.deep.equal([0, 0]);
    expect(lists(exact)).to.deep.equal(lists(await encode(records)));
  });

  it("adds the end token where the tokenizer's template does not, and never twice", async () => {
    expect(lists(await encode(records, {}, { template: {} }))).to.deep.equal(lists(await encode(records)));
    const [[input]] = lists(await encode(records, { endTokenId: null }, { template: {} })) as [number[][]];
    expect(input).to.deep.equal([3, 4, 5, 6]);
    const around = await encode(
      records,
      { sourceTokens: 4 },
      { template: { before: ["<pad>"], after: ["</s>"] } },
    );
    expect(lists(around)[0]![0]).to.deep.equal([0, 3, 4, 1]);
  });

  it("evaluates the prompts it trains on, and scores candidates exactly as listed", async () => {
    const format = await open({ sourceTokens: 4 });
    const { prompts, cut } = await format.encodePrompts(records);
    expect(prompts).to.deep.equal((await format.encode(records)).records.map(({ inputIds }) => inputIds));
    expect(cut).to.equal(1);
    expect(await format.encodeCandidates(["the mat", "cat"], false)).to.deep.equal([
      Int32Array.of(3, 7),
      Int32Array.of(4),
    ]);
    expect(await format.encodeCandidates(["cat"], true)).to.deep.equal([Int32Array.of(4, 1)]);
  });

  it("writes prompts with the template it is given", async () => {
    const [record] = (await encode([{ input: "the cat", output: "sat" }], { template: alpaca })).records;
    expect(record!.inputIds.length).to.be.above(10);
    expect([...record!.inputIds].filter((id) => id !== 2).slice(-3)).to.deep.equal([3, 4, 1]);
  });

  it("refuses lengths that leave no room for text", async () => {
    const error = await rejection(encode(records, { targetTokens: 1 }));
    expect(error.message).to.contain("targetTokens is 1; expected a whole number of at least 2");
  });
});
