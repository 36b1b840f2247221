import { expect } from "chai";
import { parseBench } from "../../lib/bench/spec.js";

const parse = (input: unknown): ReturnType<typeof parseBench> => parseBench(input, "a.json");

describe("a bench file", () => {
  it("has methods, presets and named variants, and defaults for the rest", () => {
    const spec = parse({
      variants: [
        "sequential",
        "recurrent-kif:published-code",
        { name: "half", method: "recurrent-kif", options: { keepFraction: 0.5 } },
        { method: "recurrent-kif", preset: "paper" },
      ],
    });
    expect(spec.variants).to.deep.equal([
      { name: "sequential", method: "sequential", preset: null, options: {} },
      {
        name: "recurrent-kif:published-code",
        method: "recurrent-kif",
        preset: "published-code",
        options: {},
      },
      { name: "half", method: "recurrent-kif", preset: null, options: { keepFraction: 0.5 } },
      { name: "recurrent-kif:paper", method: "recurrent-kif", preset: "paper", options: {} },
    ]);
    expect(spec.seeds).to.deep.equal([1, 2, 3]);
    expect([spec.orders, spec.evaluateOn, spec.options]).to.deep.equal([null, "test", {}]);
  });

  it("has a variant for each combination of a sweep", () => {
    const sweep = { innerSteps: [8, 16], outerSteps: [4, 2] };
    const { variants } = parse({
      variants: [{ method: "recurrent-kif", options: { keepFraction: 0.1 }, sweep }],
    });
    expect(variants.map(({ name }) => name)).to.deep.equal([
      "recurrent-kif innerSteps=8 outerSteps=4",
      "recurrent-kif innerSteps=8 outerSteps=2",
      "recurrent-kif innerSteps=16 outerSteps=4",
      "recurrent-kif innerSteps=16 outerSteps=2",
    ]);
    expect(variants[3]!.options).to.deep.equal({ keepFraction: 0.1, innerSteps: 16, outerSteps: 2 });
  });

  for (const [what, input, message] of [
    ["no variants", {}, /a\.json: "variants" is missing; expected a list with at least one entry/],
    ["an empty list", { variants: [] }, /"variants" is \[\]; expected a list with at least one entry/],
    [
      "another field in a variant",
      { variants: [{ methd: "replay" }] },
      /"variants\.0" is .*expected "METHOD"/,
    ],
    ["a seed that is none", { variants: ["replay"], seeds: ["1"] }, /"seeds\.0" is "1"/],
    [
      "another set",
      { variants: ["replay"], evaluateOn: "train" },
      /"evaluateOn" is "train"; expected "test" or "dev"/,
    ],
    [
      "another field",
      { variants: ["replay"], epochs: 1 },
      /expected an object with the fields name, variants/,
    ],
    [
      "a name twice",
      { variants: ["replay", { name: "replay", method: "sequential" }] },
      /two variants are called "replay"/,
    ],
  ] as const) {
    it(`is refused with ${what}`, () => {
      expect(() => parse(input))
        .to.throw(message)
        .with.property("code", "CONFIG_INVALID");
    });
  }
});
