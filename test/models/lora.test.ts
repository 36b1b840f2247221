import { expect } from "chai";
import { idlePatterns, type LoraConfig, resolveAdaptedModules, byWholePaths } from "../../lib/models/lora.js";
import { failure } from "./tiny-safetensors.js";

/** A decoder's layers, as `linearModules` lists them: two layers of five. */
const decoder = [0, 1].flatMap((layer) =>
  ["self_attn.q_proj", "self_attn.k_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"].map(
    (name) => `model.layers.${layer}.${name}`,
  ),
);

function lora(fields: Partial<LoraConfig> = {}): LoraConfig {
  const plain = { r: 4, alpha: 8, dropout: 0, rsLora: false, rankPattern: {}, alphaPattern: {} };
  return { ...plain, targetModules: ["q_proj"], ...fields };
}

/** The adapted modules, shortened: "0.self_attn.q_proj". */
function chosen(fields: Partial<LoraConfig>): string[] {
  return resolveAdaptedModules(lora(fields), decoder).map(({ module }) =>
    module.replace("model.layers.", ""),
  );
}

describe("models/lora", () => {
  it("matches names at the end of a path, whole components only, in the model's order", () => {
    expect(chosen({ targetModules: ["o_proj", "q_proj"] })).to.deep.equal([
      "0.self_attn.q_proj",
      "0.self_attn.o_proj",
      "1.self_attn.q_proj",
      "1.self_attn.o_proj",
    ]);
    expect(chosen({ targetModules: ["mlp.up_proj", "model.layers.1.mlp.down_proj"] })).to.deep.equal([
      "0.mlp.up_proj",
      "1.mlp.up_proj",
      "1.mlp.down_proj",
    ]);
    expect(chosen({ targetModules: ["q_proj", "self_attn.q_proj"] })).to.have.lengthOf(2);
  });

  it("matches a pattern against the whole path", () => {
    expect(chosen({ targetModules: ".*\\.1\\..*(q|k)_proj" })).to.deep.equal([
      "1.self_attn.q_proj",
      "1.self_attn.k_proj",
    ]);
    expect(chosen({ targetModules: "model.*q_proj|.*0.*up_proj" })).to.deep.equal([
      "0.self_attn.q_proj",
      "0.mlp.up_proj",
      "1.self_attn.q_proj",
    ]);
  });

  it("takes all-linear for every linear layer, whatever its case", () => {
    for (const targetModules of ["all-linear", "All-Linear"]) {
      expect(chosen({ targetModules })).to.have.lengthOf(decoder.length);
    }
  });

  it("scales by alpha / r, or by alpha / sqrt(r)", () => {
    const [plain] = resolveAdaptedModules(lora(), decoder);
    expect(plain).to.deep.equal({ module: decoder[0], r: 4, scale: 2 });
    expect(resolveAdaptedModules(lora({ rsLora: true }), decoder)[0]).to.include({ r: 4, scale: 4 });
  });

  it("gives ranks and alphas by the first pattern that covers the path or its end", () => {
    const shapes = resolveAdaptedModules(
      lora({
        targetModules: ["q_proj", "k_proj"],
        rankPattern: { "layers.0.self_attn.q_proj": 2, q_proj: 16, ".*layers.*": 1 },
        // Not from the start of the path, and not up to its end: neither matches.
        alphaPattern: { "ayers.0.self_attn.q_proj": 100, self_attn: 100, "1.self_attn.k_proj": 5 },
      }),
      decoder,
    );
    expect(shapes.map(({ r, scale }) => [r, scale])).to.deep.equal([
      [2, 4],
      [1, 8],
      [16, 0.5],
      [1, 5],
    ]);
    const rooted = lora({ rankPattern: { "^model.layers.1.self_attn.q_proj": 3, "^layers.0.*": 9 } });
    expect(resolveAdaptedModules(rooted, decoder).map(({ r }) => r)).to.deep.equal([4, 3]);
  });

  it("tells patterns that decide nothing", () => {
    const fields = {
      rankPattern: { q_proj: 2, "model.*q_proj": 3, up_proj: 2 },
      alphaPattern: { "layers.1.self_attn.q_proj": 2, v_proj: 1 },
    };
    const adapted = resolveAdaptedModules(lora(fields), decoder);
    expect(idlePatterns(lora(fields), adapted)).to.deep.equal(["model.*q_proj", "up_proj", "v_proj"]);
  });

  it("leaves out what is excluded, by name or pattern", () => {
    const targetModules = ["q_proj", "up_proj"];
    expect(chosen({ targetModules, excludeModules: ["layers.0.self_attn.q_proj", "k_proj"] })).to.deep.equal([
      "0.mlp.up_proj",
      "1.self_attn.q_proj",
      "1.mlp.up_proj",
    ]);
    expect(chosen({ targetModules: "all-linear", excludeModules: ".*\\.(self_attn|0)\\..*" })).to.deep.equal([
      "1.mlp.up_proj",
      "1.mlp.down_proj",
    ]);
  });

  it("adapts only the layers asked for, but whole paths always", () => {
    expect(chosen({ layersToTransform: [1] })).to.deep.equal(["1.self_attn.q_proj"]);
    expect(chosen({ layersToTransform: [1, 7], layersPattern: ["blocks", "layers"] })).to.deep.equal([
      "1.self_attn.q_proj",
    ]);
    expect(
      chosen({ targetModules: ["q_proj", "model.layers.0.mlp.up_proj"], layersToTransform: [1] }),
    ).to.deep.equal(["0.mlp.up_proj", "1.self_attn.q_proj"]);
  });

  it("writes an adapter of a wrapper class by whole paths", () => {
    const modules = ["bert.encoder.layer.0.query", "bert.encoder.layer.1.query"];
    const wrapped = lora({
      targetModules: ["query"],
      rankPattern: { "bert.encoder.layer.1.query": 2 },
      alphaPattern: { "layer.0.query": 3 },
      excludeModules: ["value"],
    });
    const bare = byWholePaths(wrapped, modules, "bert.");
    expect(bare).to.deep.equal(
      lora({
        targetModules: ["encoder.layer.0.query", "encoder.layer.1.query"],
        rankPattern: { "encoder\\.layer\\.1\\.query": 2 },
        alphaPattern: { "encoder\\.layer\\.0\\.query": 3 },
      }),
    );
    const strip = (module: string): string => module.slice("bert.".length);
    expect(resolveAdaptedModules(bare, modules.map(strip))).to.deep.equal(
      resolveAdaptedModules(wrapped, modules).map((shape) => ({ ...shape, module: strip(shape.module) })),
    );
  });

  const wrong: [what: string, fields: Partial<LoraConfig>, words: string[]][] = [
    [
      "a name that matches nothing",
      { targetModules: ["q_proj", "v_proj"] },
      [
        'target module "v_proj" matches no linear layer',
        "candidates: down_proj, k_proj, o_proj, q_proj, up_proj",
        '"model.layers.0.self_attn.q_proj"',
      ],
    ],
    ["a pattern that matches nothing", { targetModules: "q_proj" }, ['target module "q_proj" matches no']],
    ["no name", { targetModules: [] }, ["targetModules is empty"]],
    [
      "a pattern of Python's",
      { targetModules: "(?P<name>.*)q_proj" },
      ['the pattern "(?P<name>.*)q_proj" is no regular expression of JavaScript', "list the modules"],
    ],
    ["an escape that JavaScript lacks", { targetModules: ".*q_proj\\Z" }, ["is no regular expression"]],
    ["a pattern that closes what it did not open", { targetModules: "a)|(b" }, ["is no regular expression"]],
    ["a key that is no pattern", { rankPattern: { "q_proj(": 2 } }, ['the pattern "q_proj("']],
    [
      "exclusions that leave nothing",
      { excludeModules: ["self_attn.q_proj"] },
      ["excludeModules", "leave nothing"],
    ],
    ["layers that do not exist", { layersToTransform: [2] }, ["layersToTransform", "leave nothing"]],
    [
      "layers beside a pattern",
      { targetModules: ".*q_proj", layersToTransform: [1] },
      ["layersToTransform restricts a list"],
    ],
  ];
  for (const [what, fields, words] of wrong) {
    it(`refuses ${what}, naming where it comes from`, async () => {
      const error = await failure(() =>
        resolveAdaptedModules(lora(fields), decoder, { name: "a/adapter_config.json" }),
      );
      expect(error).to.include({ name: "RkifError", code: "INVALID_ARGUMENT" });
      for (const word of ["a/adapter_config.json: ", ...words]) expect(error.message).to.contain(word);
    });
  }

  it("passes over names that match nothing where the source is lenient, as long as another matches", async () => {
    const modules = (targetModules: string[], lenient: boolean): string[] =>
      resolveAdaptedModules(lora({ targetModules }), decoder, { name: "it", lenient }).map(
        ({ module }) => module,
      );
    expect(modules(["q_proj", "query_key_value"], true)).to.deep.equal(modules(["q_proj"], false));
    expect((await failure(() => modules(["query_key_value"], true))).message).to.contain("query_key_value");
  });

  it("refuses a pattern that would backtrack for ever", async () => {
    const targetModules = "(.*a*)*(.*l*)*(.*o*)*b";
    const error = await failure(() => resolveAdaptedModules(lora({ targetModules }), decoder));
    expect(error.message).to.contain("takes too long").and.contain("list the modules");
  }).timeout(10_000);
});
