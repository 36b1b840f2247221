import { expect } from "chai";
import { totalmem } from "node:os";
import { checkMemory, prepackFits, usualRoom, weightBytes } from "../../lib/models/memory.js";
import type { ModelFamily } from "../../lib/native/contract.js";

/** LLaMA-2-7B: 6.74 billion weights, 262 million of them in the two tables of the vocabulary. */
const llama: ModelFamily = {
  family: "decoder",
  config: {
    ...{ vocabSize: 32000, hiddenSize: 4096, intermediateSize: 11008, numLayers: 32, numHeads: 32 },
    ...{ numKeyValueHeads: 32, headSize: 128, normEpsilon: 1e-5, activation: "silu", queryKeyNorm: false },
    ...{ rope: { theta: 10000, scaling: null }, slidingWindows: new Array<null>(32).fill(null) },
    ...{
      queryKeyValueBias: false,
      outputBias: false,
      mlpBias: false,
      attentionDropout: 0,
      tieWordEmbeddings: false,
    },
  },
};

describe("memory", () => {
  it("counts the weights by type", () => {
    const vocabulary = 32000 * 4096;
    const layers = 6_738_415_616 - 2 * vocabulary - 65 * 4096; // the published number of weights, without norms
    expect(weightBytes(llama, "float32")).to.equal(4 * layers + 8 * vocabulary);
    expect(weightBytes(llama, "bfloat16")).to.equal(2 * layers + 6 * vocabulary);
    expect(weightBytes(llama, "int8")).to.equal(layers + 6 * vocabulary);
  });

  it("refuses what is larger than the limit, and says what fits better", () => {
    const check = (baseType: "float32" | "bfloat16", limit: number, full: boolean = false): void =>
      checkMemory(llama, { folder: "llama", baseType, limit, full });
    check("bfloat16", 14e9);
    expect(() => check("float32", 14e9))
      .to.throw("llama: the weights take 27.0 GB as float32, more than the limit of 14.0 GB")
      .with.property("code", "OUT_OF_MEMORY");
    expect(() => check("float32", 14e9)).to.throw(
      '13.7 GB with baseType "bfloat16", 7.3 GB with baseType "int8"',
    );
    expect(() => check("float32", 40e9, true)).to.throw("and their gradients take 53.9 GB");
  });

  it("packs layers for products where they fit twice, and where that can be used", () => {
    const fits = (baseType: "float32" | "bfloat16" | "int8", room: number, full = false): boolean =>
      prepackFits(llama, { baseType, room, full });
    // Layers of 13 GB in bf16, twice, and the vocabulary with the head's copy.
    expect(fits("bfloat16", 28e9)).to.equal(true);
    expect(fits("bfloat16", 26e9)).to.equal(false);
    // Not the copy of the head, of 0.26 GB.
    expect(fits("bfloat16", 26.8e9)).to.equal(false);
    expect(fits("float32", 41e9)).to.equal(false);
    expect(fits("float32", 82e9, true)).to.equal(false);
    expect(fits("int8", 82e9)).to.equal(false);
    const small: ModelFamily = {
      family: "decoder",
      config: { ...llama.config, numLayers: 1, hiddenSize: 64 },
    };
    expect(usualRoom()).to.be.within(1, totalmem() / 2);
    expect(prepackFits(small, { baseType: "float32", room: 41e9, full: false })).to.equal(false);
  });
});
