import { expect } from "chai";
import { resolveDecoderConfig } from "../../lib/models/config/decoder.js";
import { file } from "./config-cases.js";
import {
  llama2,
  llama32,
  llamaOfTransformers5,
  mistral,
  mistralOfTransformers5,
  qwen25,
  qwen2OfTransformers5,
  qwen3,
  qwen3OfTransformers5,
  sizes,
} from "./decoder-configs.js";

const resolve = (config: object) => resolveDecoderConfig(config, file);
const windows = (config: object) => resolve(config).config.slidingWindows;

describe("models/config of decoders", () => {
  it("reads LLaMA as published", () => {
    expect(resolve(llama2)).to.deep.equal({
      family: "decoder",
      modelType: "llama",
      config: {
        vocabSize: 32000,
        hiddenSize: 4096,
        intermediateSize: 11008,
        numLayers: 32,
        numHeads: 32,
        numKeyValueHeads: 32,
        headSize: 128,
        normEpsilon: 1e-5,
        activation: "silu",
        rope: { theta: 10000, scaling: null },
        slidingWindows: Array<null>(32).fill(null),
        queryKeyNorm: false,
        queryKeyValueBias: false,
        outputBias: false,
        mlpBias: false,
        attentionDropout: 0,
        tieWordEmbeddings: false,
      },
      endTokenIds: [2],
      maxTokens: null,
      nominalTokens: 4096,
    });
    const newer = resolve(llama32);
    expect(newer).to.deep.include({ endTokenIds: [128001, 128008, 128009], nominalTokens: 131072 });
    expect(newer.config).to.deep.include({
      numKeyValueHeads: 8,
      headSize: 64,
      tieWordEmbeddings: true,
      rope: {
        theta: 500000,
        scaling: {
          type: "llama3",
          factor: 32,
          lowFreqFactor: 1,
          highFreqFactor: 4,
          originalMaxPositions: 8192,
        },
      },
    });
  });

  it("reads LLaMA as transformers 5 writes it", () => {
    const resolved = resolve(llamaOfTransformers5);
    expect(resolved).to.deep.include({ modelType: "llama", endTokenIds: [2], nominalTokens: 131072 });
    expect(resolved.config).to.deep.include({
      numHeads: 4,
      numKeyValueHeads: 2,
      headSize: 4,
      slidingWindows: [null, null, null],
      rope: {
        theta: 500000,
        scaling: {
          type: "llama3",
          factor: 8,
          lowFreqFactor: 1,
          highFreqFactor: 4,
          originalMaxPositions: 8192,
        },
      },
    });
  });

  it("reads Mistral: a window for all layers, or none where it is null", () => {
    for (const [config, headSize] of [
      [mistral, 128],
      [mistralOfTransformers5, 4],
    ] as const) {
      const resolved = resolve(config);
      expect(resolved).to.deep.include({ modelType: "mistral", endTokenIds: [2] });
      expect(resolved.config).to.deep.include({
        headSize,
        rope: { theta: 10000, scaling: null },
        slidingWindows: [4096, 4096, 4096],
        queryKeyNorm: false,
        queryKeyValueBias: false,
        outputBias: false,
      });
    }
    expect(windows({ ...mistral, sliding_window: null })).to.deep.equal([null, null, null]);
    expect(windows({ ...mistral, sliding_window: undefined })).to.deep.equal([4096, 4096, 4096]);
    const listed = { ...mistral, layer_types: Array<string>(3).fill("sliding_attention") };
    expect(windows(listed)).to.deep.equal([4096, 4096, 4096]);
  });

  it("reads Qwen 2: biases on q, k and v, no window unless it is used", () => {
    const resolved = resolve(qwen25);
    expect(resolved).to.deep.include({ modelType: "qwen2", endTokenIds: [151643], nominalTokens: 131072 });
    expect(resolved.config).to.deep.include({
      numKeyValueHeads: 2,
      headSize: 128,
      rope: { theta: 1000000, scaling: null },
      slidingWindows: [null, null, null, null],
      queryKeyNorm: false,
      queryKeyValueBias: true,
      outputBias: false,
      mlpBias: false,
      tieWordEmbeddings: true,
    });
    expect(resolve(qwen2OfTransformers5)).to.deep.include({ endTokenIds: [], nominalTokens: 32768 });
    expect(windows(qwen2OfTransformers5)).to.deep.equal([null, 8, 8]);
  });

  it("reads Qwen 3: query and key norms, heads of their own size", () => {
    const resolved = resolve(qwen3);
    expect(resolved).to.deep.include({ modelType: "qwen3", endTokenIds: [151645], nominalTokens: 40960 });
    expect(resolved.config).to.deep.include({
      numHeads: 16,
      numKeyValueHeads: 8,
      headSize: 128,
      queryKeyNorm: true,
      queryKeyValueBias: false,
      outputBias: false,
      slidingWindows: [null, null],
      tieWordEmbeddings: true,
    });
    expect(resolve(qwen3OfTransformers5).config).to.deep.include({
      headSize: 128,
      hiddenSize: 16,
      numHeads: 4,
    });
  });

  // What the configuration classes of transformers 5.23 resolve.
  it("gives absent fields the values they have in transformers", () => {
    const cases = [
      ["llama", { numKeyValueHeads: 32, headSize: 8, slidingWindows: [null, null] }, 2048, [2]],
      ["mistral", { numKeyValueHeads: 8, headSize: 8, slidingWindows: [4096, 4096] }, 131072, [2]],
      ["qwen2", { numKeyValueHeads: 32, headSize: 8, slidingWindows: [null, null] }, 32768, []],
      ["qwen3", { numKeyValueHeads: 32, headSize: 128, slidingWindows: [null, null] }, 32768, []],
    ] as const;
    for (const [model_type, own, nominalTokens, endTokenIds] of cases) {
      const resolved = resolve({ ...sizes, model_type });
      expect(resolved, model_type).to.deep.include({ nominalTokens, endTokenIds, maxTokens: null });
      expect(resolved.config, model_type).to.deep.include({
        ...own,
        normEpsilon: 1e-6,
        activation: "silu",
        rope: { theta: 10000, scaling: null },
        queryKeyNorm: model_type === "qwen3",
        queryKeyValueBias: model_type === "qwen2",
        outputBias: false,
        mlpBias: false,
        attentionDropout: 0,
        tieWordEmbeddings: false,
      });
    }
  });

  it("takes null for absence where the default is derived", () => {
    for (const model_type of ["llama", "mistral", "qwen2", "qwen3"]) {
      const { config } = resolve({ ...sizes, model_type, num_key_value_heads: null, head_dim: null });
      expect(config, model_type).to.include({ numKeyValueHeads: 32, headSize: 8 });
    }
    const nulls = {
      attention_bias: null,
      mlp_bias: null,
      tie_word_embeddings: null,
      attention_dropout: null,
    };
    expect(resolve({ ...llama2, ...nulls }).config).to.deep.equal(resolve(llama2).config);
  });

  it("puts biases where each type has them", () => {
    const biased = { ...sizes, attention_bias: true, mlp_bias: true };
    const cases = [
      ["llama", true, true, true],
      ["mistral", false, false, false],
      ["qwen2", true, false, false],
      ["qwen3", true, true, false],
    ] as const;
    for (const [model_type, queryKeyValueBias, outputBias, mlpBias] of cases) {
      expect(resolve({ ...biased, model_type }).config, model_type).to.include({
        queryKeyValueBias,
        outputBias,
        mlpBias,
      });
    }
  });

  it("slides on the layers that Qwen's fields name", () => {
    const used = { use_sliding_window: true, sliding_window: 8 };
    for (const model_type of ["qwen2", "qwen3"]) {
      const qwen = { ...sizes, num_hidden_layers: 4, model_type };
      const cases: [object, (number | null)[]][] = [
        [used, [null, null, null, null]], // "max_window_layers" is 28
        [{ ...used, max_window_layers: 1 }, [null, 8, 8, 8]],
        [{ ...used, max_window_layers: 0 }, [8, 8, 8, 8]],
        [{ use_sliding_window: true, max_window_layers: 3 }, [null, null, null, 4096]],
        [{ ...used, sliding_window: null, max_window_layers: 0 }, [null, null, null, null]],
        [{ ...used, use_sliding_window: false, max_window_layers: 0 }, [null, null, null, null]],
        [{ sliding_window: 8, max_window_layers: 0 }, [null, null, null, null]],
        [
          {
            ...used,
            max_window_layers: 0,
            layer_types: ["sliding_attention", "full_attention", "full_attention", "sliding_attention"],
          },
          [8, null, null, 8],
        ],
      ];
      for (const [fields, expected] of cases) {
        expect(windows({ ...qwen, ...fields }), JSON.stringify(fields)).to.deep.equal(expected);
      }
    }
    const converted = { ...llama2, num_hidden_layers: 2, sliding_window: 4096, use_sliding_window: false };
    expect(windows(converted)).to.deep.equal([null, null]);
  });

  it("reads activations as transformers names them", () => {
    const names = {
      silu: "silu",
      swish: "silu",
      relu: "relu",
      gelu: "gelu",
      gelu_new: "gelu_new",
      gelu_pytorch_tanh: "gelu_new",
      gelu_fast: "gelu_new",
    };
    for (const [hidden_act, activation] of Object.entries(names)) {
      expect(resolve({ ...llama2, hidden_act }).config).to.include({ activation });
    }
  });

  it("reads end tokens: one, several, none", () => {
    const ends = (eos_token_id: unknown) => resolve({ ...llama2, eos_token_id }).endTokenIds;
    expect(ends(7)).to.deep.equal([7]);
    expect(ends([7, 8, 7])).to.deep.equal([7, 8]);
    expect(ends([])).to.deep.equal([]);
    expect(ends(null)).to.deep.equal([]);
  });

  it("lets fields of related models pass where they change nothing", () => {
    const harmless = {
      quantization_config: null,
      is_encoder_decoder: false,
      is_causal: true,
      use_qk_norm: false,
      logit_scale: 1.0,
      final_logit_softcapping: null,
      num_experts: 0,
      pretraining_tp: 4,
      auto_map: { AutoConfig: "other.Config" },
    };
    expect(resolve({ ...llama2, ...harmless })).to.deep.equal(resolve(llama2));
  });
});
