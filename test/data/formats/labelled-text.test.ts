import { expect } from "chai";
import { LabelledText, type LabelledTextOptions } from "../../../lib/data/formats/labelled-text.js";
import { countLabelTokens } from "../../../lib/data/pack.js";
import { plain } from "../../../lib/data/prompts/built-in.js";
import { Tokenizer } from "../../../lib/models/tokenizer.js";
import { tinyTokenizer } from "../../models/tiny-tokenizer.js";
import { folderWith, rejection, removeFolders } from "../folder.js";

/** `<pad>` stands for [CLS] and `</s>` for [SEP]. */
async function open(options: Partial<LabelledTextOptions> = {}): Promise<LabelledText> {
  const file = tinyTokenizer({ template: { before: ["<pad>"], after: ["</s>"] } });
  const tokenizer = await Tokenizer.open(await folderWith({ "tokenizer.json": file }));
  return new LabelledText(tokenizer, { template: null, sourceTokens: 256, ...options });
}

describe("labelled texts", () => {
  afterEach(removeFolders);

  it("are the input between special tokens and the number of the label", async () => {
    const format = await open();
    await format.addLabels(["mat", "cat"]);
    const { records, cutSources, cutTargets } = await format.encode([
      { instruction: "on ", input: "the cat sat", output: " Cat" },
      { input: "the", output: "mat" },
    ]);
    expect(records).to.deep.equal([
      { inputIds: Int32Array.of(0, 3, 4, 5, 1), labels: Int32Array.of(1), key: 0 },
      { inputIds: Int32Array.of(0, 3, 1), labels: Int32Array.of(0), key: 1 },
    ]);
    expect([cutSources, cutTargets]).to.deep.equal([0, 0]);
    expect(countLabelTokens(records)).to.equal(2);
  });

  it("carry all labels seen so far with every batch; labels never change their numbers", async () => {
    const format = await open();
    await format.addLabels(["mat", "cat"]);
    const earlier = (await format.encode([{ input: "the", output: "cat" }])).records;
    await format.addLabels(["CAT ", "on", "ON", "the sat"]);
    await format.addLabels(["mat", "cat"]);
    const later = (await format.encode([{ input: "mat", output: "on" }])).records;
    expect([...later[0]!.labels]).to.deep.equal([2]);
    expect((await format.encode([{ input: "the", output: "cat" }])).records).to.deep.equal(earlier);
    const batch = format.pack([...later, ...earlier]);
    expect(batch).to.deep.equal({
      inputIds: Int32Array.of(0, 7, 1, 0, 3, 1),
      inputLengths: Int32Array.of(3, 3),
      labels: Int32Array.of(2, 1),
      labelLengths: Int32Array.of(1, 1),
      recordKeys: Uint32Array.of(0, 0),
      candidateIds: Int32Array.of(0, 7, 1, 0, 4, 1, 0, 6, 1, 0, 3, 5, 1),
      candidateLengths: Int32Array.of(3, 3, 3, 4),
    });
  });

  it("are cut to the length, labels too, and counted", async () => {
    const format = await open({ sourceTokens: 4 });
    const { prompts, cut } = await format.encodePrompts([{ input: "the cat sat" }, { input: "the cat" }]);
    expect(prompts).to.deep.equal([Int32Array.of(0, 3, 4, 1), Int32Array.of(0, 3, 4, 1)]);
    expect(cut).to.equal(1);
    expect(await format.encodeCandidates(["cat sat on", "mat"])).to.deep.equal([
      Int32Array.of(0, 4, 5, 1),
      Int32Array.of(0, 7, 1),
    ]);
  });

  it("may be the whole prompt", async () => {
    const format = await open({ template: plain });
    const { prompts } = await format.encodePrompts([{ instruction: "on ", input: "the" }]);
    expect(prompts).to.deep.equal([Int32Array.of(0, 6, 3, 1)]);
  });

  it("are refused without text, with an unknown output or with a label without text", async () => {
    const format = await open();
    await format.addLabels(["mat"]);
    const cases: [Promise<unknown>, RegExp][] = [
      [
        format.encode([
          { input: "the", output: "mat" },
          { id: "x7", input: "the", output: "dog" },
        ]),
        /record 1 \(id "x7"\) has the output "dog", which is not among the 1 labels/,
      ],
      [format.encodePrompts([{ instruction: "on", input: "" }]), /record 0 has an empty input.*"prompt"/],
      [format.addLabels(["cat", " "]), /the label " " has no text/],
    ];
    for (const [promise, message] of cases) {
      const error = await rejection(promise);
      expect(error).to.include({ code: "DATA_INVALID" });
      expect(error.message).to.match(message);
    }
    expect(await open({ sourceTokens: 2 }).catch((error: Error) => error.message)).to.match(
      /sourceTokens is 2; expected a whole number of at least 3/,
    );
  });
});
