import { expect } from "chai";
import { z } from "zod";
import { methods } from "../../lib/methods/registry.js";
import {
  allOptions,
  configDifferences,
  configJsonSchema,
  mergedConfig,
  resolveConfig,
  resolveDataOptions,
  type ConfigInput,
} from "../../lib/training/config.js";

function refused(input: object): string {
  try {
    resolveConfig(input as ConfigInput, "my.json");
  } catch (error) {
    expect(error).to.have.property("code", "CONFIG_INVALID");
    return (error as Error).message;
  }
  throw new Error(`${JSON.stringify(input)} was accepted`);
}

describe("the configuration", () => {
  it("has the published defaults", () => {
    expect(resolveConfig({})).to.include({
      ...{ method: "recurrent-kif", innerSteps: 8, outerSteps: 4, keepFraction: 0.2 },
      ...{ importanceDecay: 0.55, uncertaintyDecay: 0.55, outerLearningRate: 1e-3 },
      ...{ importanceReads: "before", outerStart: "cycle-start", outerOptimizer: "own", maskCompare: ">=" },
      ...{ outerLossScale: 1, selectBestOnDev: false, selectBy: "quantile", thresholdScope: "global" },
      ...{
        loraRank: 8,
        loraAlpha: 32,
        loraDropout: 0.05,
        learningRate: 3e-4,
        weightDecay: 0,
        warmupSteps: 50,
      },
      ...{
        maxGradNorm: 1,
        epochs: 10,
        batchSize: 8,
        targetTokens: 128,
        cutoffTokens: 512,
        memoryFraction: 0.02,
        groupByLength: null,
      },
    });
    // What the model's family decides.
    expect(resolveConfig({})).to.include({
      ...{ targetModules: null, sourceTokens: null, promptTemplate: null, evaluateBy: null, adapter: null },
    });
  });

  it("has options that several methods share only where they mean the same", () => {
    const shapes = [...methods.values()].flatMap(({ options }) => Object.entries(options.shape));
    const typeOf = (schema: unknown): unknown => ({ ...z.toJSONSchema(schema as z.ZodType, { io: "input" }), description: "" }); // prettier-ignore
    for (const { name, methods: owners } of allOptions()) {
      const same = shapes.filter(([other]) => other === name).map(([, schema]) => typeOf(schema));
      expect(same.length, name).to.equal(owners?.length ?? 0);
      for (const schema of same) expect(schema, name).to.deep.equal(same[0]);
    }
    expect(allOptions().find(({ name }) => name === "outerLearningRate")?.methods).to.deep.equal([
      "recurrent-kif",
      "aim-merging",
    ]);
  });

  it("is the paper's by default: the preset changes nothing", () => {
    expect(resolveConfig({ preset: "paper" })).to.deep.equal({ ...resolveConfig({}), preset: "paper" });
  });

  it("takes the published code's differences by preset, and what is given besides before it", () => {
    const published = resolveConfig({ preset: "published-code" });
    expect(published).to.include({
      ...{
        importanceDecay: 0.85,
        importanceReads: "after",
        outerStart: "inner-end",
        outerOptimizer: "inner",
      },
      ...{ outerLossScale: 0.25, maskCompare: ">", selectBestOnDev: true },
    });
    const given = resolveConfig({ preset: "published-code", importanceDecay: 0.7, selectBestOnDev: false });
    expect(given).to.include({ importanceDecay: 0.7, uncertaintyDecay: 0.85, selectBestOnDev: false });
    // undefined is "not given", as it comes from options that are left out.
    expect(resolveConfig({ preset: "published-code", importanceDecay: undefined })).to.deep.equal(published);
  });

  it("resolves to itself", () => {
    for (const method of methods.keys()) {
      const resolved = resolveConfig({ method });
      expect(resolveConfig(resolved)).to.deep.equal(resolved);
    }
  });

  const wrong: [string, object, RegExp][] = [
    ["an unknown option", { learningRat: 1 }, /^my\.json: "learningRat": .*Did you mean "learningRate"\?/],
    ["a name of an object's own", { constructor: 1 }, /"constructor": there is no such option/],
    ["a word for a number", { epochs: "ten" }, /^my\.json: epochs is "ten"; .*number/],
    ["a fraction for a count", { batchSize: 2.5 }, /batchSize is 2\.5; .*int/],
    ["a number out of range", { memoryFraction: 1.5 }, /memoryFraction is 1\.5; .*1/],
    ["a wrong choice", { maskCompare: "<" }, /maskCompare is "<"; .*">="/],
    [
      "a wrong element",
      { targetModules: ["q", 5] },
      /targetModules is \["q",5\]; expected a list of modules' names, or "all-linear"/,
    ],
    ["a wrong word for a list", { targetModules: "all" }, /targetModules is "all"; expected a list/],
    ["a rank that is none", { rankPattern: { "layer.0": 0 } }, /rankPattern\.layer\.0 is 0; /],
    ["a short pair", { fusionBoth: [1] }, /fusionBoth/],
    ["null where there is a value", { seed: null }, /seed is null/],
    ["every wrong option at once", { epochs: 0, seed: -1 }, /seed is -1.*\n.*epochs is 0/],
    [
      "an option of another method",
      { method: "replay", innerSteps: 4 },
      /method recurrent-kif, not of replay/,
    ],
    ["an unknown method", { method: "repaly" }, /method is "repaly"; .*Did you mean "replay"/],
    [
      "an unknown preset",
      { preset: "published" },
      /preset is "published"; expected one of paper, published-code/,
    ],
    ["a preset of a method without", { method: "replay", preset: "paper" }, /method replay has none/],
    ["a preset that every object has", { preset: "toString" }, /preset is "toString"/],
  ];
  for (const [what, input, message] of wrong) {
    it(`refuses ${what}`, () => expect(refused(input)).to.match(message));
  }

  it("names data options that are missing or wrong", () => {
    expect(() => resolveDataOptions({}, "my.json")).to.throw(/^my\.json: data is missing/);
    expect(() => resolveDataOptions({ data: "x", trainLimit: 0 }, "my.json")).to.throw(/trainLimit is 0/);
  });

  it("differs only in what changes results", () => {
    const base = resolveConfig({});
    expect(configDifferences(base, resolveConfig({ threads: 1, saveEvery: 7 }))).to.deep.equal([]);
    expect(configDifferences(base, { ...base, data: "elsewhere", order: "4" })).to.deep.equal([]);
    expect(configDifferences(base, resolveConfig({ seed: 1, loraRank: 4 }))).to.deep.equal([
      "loraRank",
      "seed",
    ]);
    // Another method lacks options, too.
    expect(configDifferences(base, resolveConfig({ method: "replay" }))).to.include.members([
      "innerSteps",
      "method",
      "stepRatio",
    ]);
  });
});

describe("a run begun when there was T5 alone", () => {
  const old = resolveConfig({
    targetModules: ["q", "v"],
    sourceTokens: 1024,
    evaluateBy: "generate",
    metric: "exact-match",
  });

  it("goes on with the options that were its defaults, given or not", () => {
    const today = resolveConfig({ threads: 1 });
    expect(configDifferences(old, today)).to.deep.equal([]);
    expect(mergedConfig(old, today)).to.deep.equal({ ...old, threads: 1 });
    expect(configDifferences(old, resolveConfig({ targetModules: ["q", "v"] }))).to.deep.equal([]);
  });

  it("does not go on with others", () => {
    const other = resolveConfig({
      targetModules: ["q"],
      evaluateBy: "score",
      sourceTokens: 256,
      metric: "rouge-l",
    });
    expect(configDifferences(old, other)).to.deep.equal([
      "evaluateBy",
      "metric",
      "sourceTokens",
      "targetModules",
    ]);
    expect(configDifferences(resolveConfig({ evaluateBy: "score" }), resolveConfig({}))).to.deep.equal([
      "evaluateBy",
    ]);
    // What the family decides is not changed in the middle of a run.
    expect(configDifferences(resolveConfig({}), resolveConfig({ sourceTokens: 1024 }))).to.deep.equal([
      "sourceTokens",
    ]);
  });
});

describe("the published JSON Schema", () => {
  const schema = configJsonSchema();
  // zod's own reader of JSON Schema, not the schema's source.
  const validator = z.fromJSONSchema(schema);

  it("accepts every resolved configuration, and a file that names its schema", () => {
    for (const method of methods.keys())
      expect(validator.safeParse(resolveConfig({ method })).success).to.equal(true);
    expect(validator.safeParse(resolveConfig({ preset: "published-code" })).success).to.equal(true);
    expect(
      validator.safeParse({ $schema: "config.schema.json", data: "x", order: ["a", "b"] }).success,
    ).to.equal(true);
    expect(validator.safeParse({}).success).to.equal(true);
    const modules = { targetModules: "all-linear", rankPattern: { "layer.0": 4 }, alphaPattern: {} };
    expect(validator.safeParse(modules).success).to.equal(true);
    expect(resolveConfig(modules as ConfigInput)).to.deep.include(modules);
  });

  for (const input of [
    { epochs: "ten" },
    { batchSize: 2.5 },
    { memoryFraction: 1.5 },
    { maskCompare: "<" },
    { targetModules: [] },
    { targetModules: "q" },
    { alphaPattern: { q: "16" } },
    { fusionBoth: [1] },
    { learningRat: 1 },
  ]) {
    it(`refuses ${JSON.stringify(input)}, as the package does`, () => {
      expect(validator.safeParse(input).success).to.equal(false);
      refused(input);
    });
  }

  it("describes every option", () => {
    const { properties } = schema as { properties: Record<string, { description?: string }> };
    for (const [name, { description }] of Object.entries(properties))
      expect(description, name).to.match(/\w/);
    expect(Object.keys(properties)).to.include.members(Object.keys(resolveConfig({})));
  });
});
