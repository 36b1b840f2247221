import { expect } from "chai";
import type { T5Config } from "../../lib/native/contract.js";
import { headDecides, resolveT5Config } from "../../lib/models/config/t5.js";
import type { HeadInCheckpoint } from "../../lib/models/checkpoint-files.js";
import { file, refuses } from "./config-cases.js";

/** t5-small on the hub (2020), shortened by what nobody reads. */
const classic = {
  architectures: ["T5WithLMHeadModel"],
  d_ff: 2048,
  d_kv: 64,
  d_model: 512,
  decoder_start_token_id: 0,
  dropout_rate: 0.1,
  eos_token_id: 1,
  initializer_factor: 1.0,
  is_encoder_decoder: true,
  layer_norm_epsilon: 1e-6,
  model_type: "t5",
  n_positions: 512,
  num_heads: 8,
  num_layers: 6,
  output_past: true,
  pad_token_id: 0,
  relative_attention_num_buckets: 32,
  task_specific_params: { summarization: { num_beams: 4, prefix: "summarize: " } },
  vocab_size: 32128,
};

/** flan-t5-small on the hub (2022). */
const flan = {
  architectures: ["T5ForConditionalGeneration"],
  d_ff: 1024,
  d_kv: 64,
  d_model: 512,
  decoder_start_token_id: 0,
  dropout_rate: 0.1,
  eos_token_id: 1,
  feed_forward_proj: "gated-gelu",
  initializer_factor: 1.0,
  is_encoder_decoder: true,
  layer_norm_epsilon: 1e-6,
  model_type: "t5",
  n_positions: 512,
  num_decoder_layers: 8,
  num_heads: 6,
  num_layers: 8,
  output_past: true,
  pad_token_id: 0,
  relative_attention_max_distance: 128,
  relative_attention_num_buckets: 32,
  tie_word_embeddings: false,
  transformers_version: "4.23.1",
  use_cache: true,
  vocab_size: 32128,
};

/** The same kind of model as transformers 5.23 writes it: recorded from save_pretrained. */
const flanOfTransformers5 = {
  architectures: ["T5ForConditionalGeneration"],
  classifier_dropout: 0.0,
  d_ff: 24,
  d_kv: 4,
  d_model: 16,
  dense_act_fn: "gelu_new",
  dropout_rate: 0.1,
  dtype: "float32",
  eos_token_id: 1,
  feed_forward_proj: "gated-gelu",
  initializer_factor: 1.0,
  is_decoder: false,
  is_encoder_decoder: true,
  is_gated_act: true,
  layer_norm_epsilon: 1e-6,
  model_type: "t5",
  num_decoder_layers: 1,
  num_heads: 3,
  num_layers: 2,
  pad_token_id: 0,
  relative_attention_max_distance: 128,
  relative_attention_num_buckets: 32,
  scale_decoder_outputs: false,
  tie_word_embeddings: true,
  transformers_version: "5.23.0",
  use_cache: true,
  vocab_size: 64,
};

const resolve = (config: object, head?: HeadInCheckpoint): T5Config =>
  resolveT5Config(config, file, head).config;

describe("models/config of T5", () => {
  it("reads the hub's classic form, with what it leaves out", () => {
    expect(resolveT5Config(classic, file)).to.deep.equal({
      family: "t5",
      modelType: "t5",
      config: {
        vocabSize: 32128,
        dModel: 512,
        dKv: 64,
        dFf: 2048,
        numHeads: 8,
        numLayers: 6,
        numDecoderLayers: 6,
        relativeAttentionNumBuckets: 32,
        relativeAttentionMaxDistance: 128,
        layerNormEpsilon: 1e-6,
        dropoutRate: 0.1,
        activation: "relu",
        gated: false,
        tieWordEmbeddings: true,
        scaleDecoderOutputs: true,
        padTokenId: 0,
        decoderStartTokenId: 0,
      },
      endTokenIds: [1],
      maxTokens: null,
      nominalTokens: null,
    });
  });

  it("reads Flan as published: a head of its own, no scaling, gated gelu_new", () => {
    expect(resolve(flan)).to.include({
      tieWordEmbeddings: false,
      scaleDecoderOutputs: false,
      activation: "gelu_new",
      gated: true,
      numLayers: 8,
      numDecoderLayers: 8,
      numHeads: 6,
    });
  });

  it("reads what transformers 5 writes, where the checkpoint decides about the head", () => {
    const withHead = (present: boolean, equalsEmbedding: boolean) =>
      resolve(flanOfTransformers5, { present, equalsEmbedding });
    const unscaled = { scaleDecoderOutputs: false, activation: "gelu_new", gated: true, numDecoderLayers: 1 };
    expect(withHead(true, false)).to.include({ ...unscaled, tieWordEmbeddings: false });
    expect(withHead(true, true)).to.include({ ...unscaled, tieWordEmbeddings: true });
    expect(withHead(false, false)).to.include({ ...unscaled, tieWordEmbeddings: true });
    expect(headDecides(resolve(flanOfTransformers5))).to.equal(true);
    expect(headDecides(resolve(classic))).to.equal(false);
    expect(headDecides(resolve(flan))).to.equal(false);
  });

  // What transformers 5.23 resolved these to, loading a checkpoint without a head, with an equal and with a differing one.
  it("scales and ties as transformers does", () => {
    const cases: [object, tied: boolean, scaled: boolean][] = [
      [{}, true, true],
      [{ tie_word_embeddings: true }, true, true],
      [{ tie_word_embeddings: null }, true, true],
      [{ tie_word_embeddings: true, scale_decoder_outputs: true }, true, true],
      [{ tie_word_embeddings: true, scale_decoder_outputs: false }, true, false],
      [{ scale_decoder_outputs: false }, true, false],
    ];
    for (const [fields, tieWordEmbeddings, scaleDecoderOutputs] of cases) {
      for (const head of [
        { present: false, equalsEmbedding: false },
        { present: true, equalsEmbedding: true },
      ]) {
        const resolved = resolve({ ...classic, ...fields }, head);
        expect(resolved, JSON.stringify(fields)).to.include({ tieWordEmbeddings, scaleDecoderOutputs });
      }
    }
    const differing = { present: true, equalsEmbedding: false };
    for (const fields of [
      { tie_word_embeddings: false },
      { tie_word_embeddings: true, scale_decoder_outputs: false },
    ]) {
      const resolved = resolve({ ...classic, ...fields }, differing);
      expect(resolved).to.include({ tieWordEmbeddings: false, scaleDecoderOutputs: false });
    }
    expect(
      resolve({ ...classic, tie_word_embeddings: false, scale_decoder_outputs: true }, differing),
    ).to.include({ tieWordEmbeddings: false, scaleDecoderOutputs: true });
  });

  it("reads activations as transformers names them", () => {
    const cases: [object, activation: string, gated: boolean][] = [
      [{ feed_forward_proj: "relu" }, "relu", false],
      [{ feed_forward_proj: "gelu" }, "gelu", false],
      [{ feed_forward_proj: "gated-gelu" }, "gelu_new", true],
      [{ feed_forward_proj: "gated-gelu_new" }, "gelu_new", true],
      [{ feed_forward_proj: "gated-silu" }, "silu", true],
      [{ feed_forward_proj: "gated-swish" }, "silu", true],
      [{ feed_forward_proj: "gated-gelu", dense_act_fn: "gelu" }, "gelu", true],
      [{ dense_act_fn: "gelu_new", is_gated_act: true }, "gelu_new", true],
    ];
    for (const [fields, activation, gated] of cases) {
      expect(resolve({ ...classic, ...fields }), JSON.stringify(fields)).to.include({
        activation,
        gated,
      });
    }
  });

  it("reads null and lists as transformers writes them", () => {
    const resolved = resolveT5Config(
      {
        ...classic,
        num_decoder_layers: null,
        eos_token_id: [7, 8],
        pad_token_id: 3,
        decoder_start_token_id: null,
      },
      file,
    );
    expect(resolved).to.deep.include({ endTokenIds: [7, 8] });
    expect(resolved.config).to.include({
      numDecoderLayers: 6,
      padTokenId: 3,
      decoderStartTokenId: 3,
    });
    expect(resolveT5Config({ ...classic, eos_token_id: null }, file).endTokenIds).to.deep.equal([]);
  });

  refuses(resolveT5Config, classic, [
    ["another family", { model_type: "bart" }, "CONFIG_UNSUPPORTED", '"model_type" is "bart"', "one of t5"],
    ["a related family", { model_type: "umt5" }, "CONFIG_UNSUPPORTED", '"umt5"'],
    ["no family", { model_type: undefined }, "CONFIG_INVALID", '"model_type" is missing'],
    [
      "a missing field",
      { d_kv: undefined },
      "CONFIG_INVALID",
      '"d_kv" is missing; expected a positive integer',
    ],
    [
      "a number as text",
      { d_model: "512" },
      "CONFIG_INVALID",
      '"d_model" is "512"; expected a positive integer',
    ],
    ["a fraction", { num_heads: 1.5 }, "CONFIG_INVALID", '"num_heads" is 1.5'],
    ["zero", { num_layers: 0 }, "CONFIG_INVALID", '"num_layers" is 0'],
    ["beyond any model", { vocab_size: 2 ** 40 }, "CONFIG_INVALID", "at most 2147483647"],
    ["a rate of one", { dropout_rate: 1 }, "CONFIG_INVALID", '"dropout_rate" is 1'],
    ["no epsilon", { layer_norm_epsilon: 0 }, "CONFIG_INVALID", '"layer_norm_epsilon" is 0'],
    ["a negative end token", { eos_token_id: -1 }, "CONFIG_INVALID", '"eos_token_id" is -1'],
    [
      "a list with a token beyond",
      { eos_token_id: [1, 32128] },
      "CONFIG_INVALID",
      '"eos_token_id" is [1,32128]',
    ],
    ["end tokens as text", { eos_token_id: ["1"] }, "CONFIG_INVALID", '"eos_token_id" is ["1"]'],
    ["a token beyond", { eos_token_id: 32128 }, "CONFIG_INVALID", 'less than "vocab_size", 32128'],
    ["a flag as text", { tie_word_embeddings: "no" }, "CONFIG_INVALID", '"tie_word_embeddings" is "no"'],
    [
      "an unknown activation",
      { feed_forward_proj: "gated-mish" },
      "CONFIG_UNSUPPORTED",
      '"gated-mish"',
      "silu",
    ],
    ["a wrong projection", { feed_forward_proj: "open-relu" }, "CONFIG_INVALID", '"open-relu"'],
    ["a decoder alone", { is_encoder_decoder: false }, "CONFIG_UNSUPPORTED", '"is_encoder_decoder" is false'],
    ["quantized weights", { quantization_config: { bits: 4 } }, "CONFIG_UNSUPPORTED", "quantization_config"],
  ]);
});
