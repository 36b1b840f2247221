import { expect } from "chai";
import type { RopeConfig } from "../../lib/native/contract.js";
import { resolveRope } from "../../lib/models/config/rope.js";
import { file, refuses, type Refusal } from "./config-cases.js";

const maxPositions = 2048;
const resolve = (config: unknown, of: string): RopeConfig => resolveRope(config, of, maxPositions);

/** The fields of llama3 scaling that all its forms have. */
const ramp = { factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
const llama3 = (originalMaxPositions: number) =>
  ({ type: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions }) as const;

describe("models/config of rotary positions", () => {
  // What transformers 5.23 computes its frequencies from.
  const cases: [what: string, config: object, expected: RopeConfig][] = [
    ["nothing", {}, { theta: 10000, scaling: null }],
    ["theta alone", { rope_theta: 500000 }, { theta: 500000, scaling: null }],
    ["null scaling", { rope_theta: 1e6, rope_scaling: null }, { theta: 1e6, scaling: null }],
    ["empty scaling", { rope_theta: 1e6, rope_scaling: {} }, { theta: 1e6, scaling: null }],
    ["null parameters", { rope_theta: 5, rope_parameters: null }, { theta: 5, scaling: null }],
    ["parameters without a type", { rope_parameters: { rope_theta: 7 } }, { theta: 7, scaling: null }],
    [
      "theta in the parameters over theta outside",
      { rope_theta: 5, rope_parameters: { rope_type: "default", rope_theta: 7 } },
      { theta: 7, scaling: null },
    ],
    [
      "theta outside for parameters without one",
      { rope_theta: 5, rope_parameters: { rope_type: "default" } },
      { theta: 5, scaling: null },
    ],
    [
      "classic linear",
      { rope_scaling: { type: "linear", factor: 2.5 }, rope_theta: 5e5 },
      { theta: 5e5, scaling: { type: "linear", factor: 2.5 } },
    ],
    [
      "linear as transformers 5 writes it",
      { rope_parameters: { rope_type: "linear", factor: 2, rope_theta: 5e5 } },
      { theta: 5e5, scaling: { type: "linear", factor: 2 } },
    ],
    [
      "classic dynamic, from the nominal length",
      { rope_scaling: { type: "dynamic", factor: 4 } },
      { theta: 10000, scaling: { type: "dynamic", factor: 4, maxPositions } },
    ],
    [
      "dynamic as transformers 5 writes it, whatever the original length",
      {
        rope_parameters: {
          rope_type: "dynamic",
          factor: 4,
          rope_theta: 7,
          original_max_position_embeddings: 77,
        },
      },
      { theta: 7, scaling: { type: "dynamic", factor: 4, maxPositions } },
    ],
    [
      "the newer name of the type over the older",
      { rope_scaling: { type: "linear", rope_type: "dynamic", factor: 2 } },
      { theta: 10000, scaling: { type: "dynamic", factor: 2, maxPositions } },
    ],
    [
      "scaling in place of parameters",
      {
        rope_scaling: { type: "linear", factor: 2 },
        rope_parameters: { rope_type: "default", rope_theta: 7 },
      },
      { theta: 10000, scaling: { type: "linear", factor: 2 } },
    ],
    [
      "classic llama3",
      {
        rope_scaling: { ...ramp, rope_type: "llama3", original_max_position_embeddings: 512 },
        rope_theta: 5e5,
      },
      { theta: 5e5, scaling: llama3(512) },
    ],
    [
      "llama3 as transformers 5 writes it",
      {
        rope_parameters: {
          ...ramp,
          rope_type: "llama3",
          original_max_position_embeddings: 512,
          rope_theta: 5e5,
        },
      },
      { theta: 5e5, scaling: llama3(512) },
    ],
    [
      "llama3 with the original length outside",
      { rope_scaling: { ...ramp, type: "llama3" }, original_max_position_embeddings: 99 },
      { theta: 10000, scaling: llama3(99) },
    ],
    [
      "llama3 without",
      { rope_scaling: { ...ramp, type: "llama3" } },
      { theta: 10000, scaling: llama3(2048) },
    ],
    [
      "heads rotated as a whole, said twice",
      { partial_rotary_factor: 1.0, rope_parameters: { rope_type: "default", partial_rotary_factor: 1 } },
      { theta: 10000, scaling: null },
    ],
  ];
  for (const [what, config, expected] of cases) {
    it(`reads ${what}`, () => expect(resolve(config, file)).to.deep.equal(expected));
  }

  const classic = (scaling: object) => ({ rope_scaling: { type: "linear", factor: 2, ...scaling } });
  const newer = (parameters: object) => ({
    rope_parameters: { rope_type: "llama3", ...ramp, original_max_position_embeddings: 512, ...parameters },
  });
  const refused: Refusal[] = [
    ...["yarn", "longrope", "su", "mrope", "proportional", "constructor"].flatMap((name): Refusal[] => [
      [
        `classic ${name}`,
        classic({ type: name }),
        "CONFIG_UNSUPPORTED",
        `"rope_scaling.type" is "${name}"`,
        "llama3",
      ],
      [
        `${name}`,
        newer({ rope_type: name }),
        "CONFIG_UNSUPPORTED",
        `"rope_parameters.rope_type" is "${name}"`,
      ],
    ]),
    [
      "a factor of nothing",
      classic({ type: undefined }),
      "CONFIG_INVALID",
      '"rope_scaling.rope_type" is undefined',
    ],
    [
      "a missing factor",
      classic({ factor: undefined }),
      "CONFIG_INVALID",
      '"rope_scaling.factor" is missing',
    ],
    ["a factor as text", newer({ factor: "8" }), "CONFIG_INVALID", '"rope_parameters.factor" is "8"'],
    [
      "a factor of 0",
      classic({ type: "dynamic", factor: 0 }),
      "CONFIG_INVALID",
      '"rope_scaling.factor" is 0',
    ],
    [
      "a missing ramp",
      classic({ type: "llama3" }),
      "CONFIG_INVALID",
      '"rope_scaling.low_freq_factor" is missing',
    ],
    [
      "a ramp that falls",
      newer({ high_freq_factor: 1 }),
      "CONFIG_INVALID",
      "high_freq_factor",
      "more than",
      "1",
    ],
    [
      "two original lengths",
      { ...newer({}), original_max_position_embeddings: 100 },
      "CONFIG_INVALID",
      '"rope_parameters.original_max_position_embeddings" is 512',
      "100",
    ],
    ["a theta of 0", { rope_theta: 0 }, "CONFIG_INVALID", '"rope_theta" is 0'],
    ["no theta", newer({ rope_theta: null }), "CONFIG_INVALID", '"rope_parameters.rope_theta" is null'],
    ["scaling as text", { rope_scaling: "linear" }, "CONFIG_INVALID", '"rope_scaling" is "linear"'],
    [
      "heads rotated in part",
      { partial_rotary_factor: 0.5 },
      "CONFIG_UNSUPPORTED",
      '"partial_rotary_factor" is 0.5',
    ],
    [
      "heads rotated in part, as transformers 5 writes it",
      newer({ partial_rotary_factor: 0.25 }),
      "CONFIG_UNSUPPORTED",
      '"rope_parameters.partial_rotary_factor" is 0.25',
    ],
    [
      "parameters by type of layer",
      { rope_parameters: { full_attention: { rope_type: "default" } } },
      "CONFIG_UNSUPPORTED",
      '"rope_parameters.full_attention"',
      "one set of parameters for all layers",
    ],
    [
      "positions of several dimensions",
      { rope_scaling: { type: "default", mrope_section: [16, 24, 24] } },
      "CONFIG_UNSUPPORTED",
      '"rope_scaling.mrope_section"',
    ],
  ];
  refuses(resolve, {}, refused);
});
