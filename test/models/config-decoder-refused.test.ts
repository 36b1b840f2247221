import { resolveDecoderConfig } from "../../lib/models/config/decoder.js";
import { refuses, type Refusal } from "./config-cases.js";
import { llama2, mistral, qwen2OfTransformers5 } from "./decoder-configs.js";

describe("models/config of decoders, what it refuses", () => {
  const refused: Refusal[] = [
    [
      "another type",
      { model_type: "gemma2" },
      "CONFIG_UNSUPPORTED",
      '"gemma2"',
      "one of llama, mistral, qwen2, qwen3",
    ],
    ["no type", { model_type: undefined }, "CONFIG_INVALID", '"model_type" is missing'],
    [
      "quantized weights",
      { quantization_config: { bits: 4 } },
      "CONFIG_UNSUPPORTED",
      '"quantization_config"',
    ],
    ["an unknown activation", { hidden_act: "mish" }, "CONFIG_UNSUPPORTED", '"hidden_act" is "mish"', "silu"],
    ["a missing size", { hidden_size: undefined }, "CONFIG_INVALID", '"hidden_size" is missing'],
    [
      "a size as text",
      { vocab_size: "32000" },
      "CONFIG_INVALID",
      '"vocab_size" is "32000"; expected a positive integer',
    ],
    [
      "more layers than any model",
      { num_hidden_layers: 2 ** 31 - 1 },
      "CONFIG_INVALID",
      "at most 10000 layers",
    ],
    [
      "an odd share of heads",
      { num_attention_heads: 31 },
      "CONFIG_INVALID",
      '"num_key_value_heads" is 32; expected a divisor',
    ],
    [
      "a width that heads cannot share",
      { num_attention_heads: 24, num_key_value_heads: 8 },
      "CONFIG_INVALID",
      '"hidden_size" is 4096; expected a multiple of "num_attention_heads", 24',
    ],
    [
      "key heads that do not divide",
      { num_key_value_heads: 5 },
      "CONFIG_INVALID",
      '"num_key_value_heads" is 5',
    ],
    ["an odd head", { head_dim: 5 }, "CONFIG_INVALID", '"head_dim" is 5; expected an even number'],
    [
      "an odd share of the width",
      { hidden_size: 96 },
      "CONFIG_INVALID",
      '"hidden_size" / "num_attention_heads" is 3; expected an even number',
    ],
    ["no epsilon", { rms_norm_eps: 0 }, "CONFIG_INVALID", '"rms_norm_eps" is 0'],
    ["a rate of one", { attention_dropout: 1 }, "CONFIG_INVALID", '"attention_dropout" is 1'],
    [
      "a flag as text",
      { attention_bias: "no" },
      "CONFIG_INVALID",
      '"attention_bias" is "no"; expected true or false',
    ],
    [
      "no longest text",
      { max_position_embeddings: null },
      "CONFIG_INVALID",
      '"max_position_embeddings" is null',
    ],
    [
      "an end token beyond",
      { eos_token_id: [2, 32000] },
      "CONFIG_INVALID",
      '"eos_token_id" is [2,32000]',
      "32000",
    ],
    [
      "a negative end token",
      { eos_token_id: -1 },
      "CONFIG_INVALID",
      '"eos_token_id" is -1; expected a token id',
    ],
    ["a window of LLaMA's", { sliding_window: 4096 }, "CONFIG_UNSUPPORTED", '"sliding_window" is 4096'],
    [
      "LLaMA's layers sliding",
      { num_hidden_layers: 1, layer_types: ["sliding_attention"] },
      "CONFIG_UNSUPPORTED",
      '"layer_types"',
    ],
    ...Object.entries({
      is_encoder_decoder: true,
      is_causal: false,
      use_bidirectional_attention: true,
      attention_chunk_size: 8192,
      alibi: true,
      use_mrope: true,
      no_rope_layers: [1, 0],
      qk_norm: true,
      use_qk_norm: true,
      qk_layernorm: true,
      use_qk_layernorm: true,
      clip_qkv: 8,
      use_parallel_residual: true,
      parallel_attn: true,
      attn_logit_softcapping: 50.0,
      final_logit_softcapping: 30.0,
      attention_multiplier: 0.0078125,
      query_pre_attn_scalar: 256,
      logit_scale: 0.0625,
      logits_scaling: 8.0,
      embedding_multiplier: 12.0,
      residual_multiplier: 0.22,
      scale_emb: 12,
      scale_depth: 1.4,
      num_experts: 8,
      num_local_experts: 8,
      n_routed_experts: 64,
      moe_num_experts: 8,
    }).map(([field, value]): Refusal => [
      `"${field}" of related models`,
      { [field]: value },
      "CONFIG_UNSUPPORTED",
      `"${field}" is ${JSON.stringify(value)}; expected it to be absent`,
    ]),
  ];
  refuses(resolveDecoderConfig, llama2, refused);

  describe("windows of Mistral", () => {
    refuses(resolveDecoderConfig, mistral, [
      ["a window of nothing", { sliding_window: 0 }, "CONFIG_INVALID", '"sliding_window" is 0'],
      [
        "layers that alternate",
        { layer_types: ["sliding_attention", "full_attention", "sliding_attention"] },
        "CONFIG_UNSUPPORTED",
        '"layer_types"',
        "expected sliding_attention for every layer",
      ],
    ]);
  });

  describe("windows of Qwen", () => {
    refuses(resolveDecoderConfig, qwen2OfTransformers5, [
      [
        "too few layer types",
        { layer_types: ["full_attention"] },
        "CONFIG_INVALID",
        '"num_hidden_layers", 3',
      ],
      [
        "another type of layer",
        { layer_types: ["full_attention", "linear_attention", "full_attention"] },
        "CONFIG_UNSUPPORTED",
        '"layer_types" is "linear_attention"',
      ],
      [
        "sliding layers without a window",
        { sliding_window: null },
        "CONFIG_INVALID",
        '"layer_types"',
        "sliding_window",
      ],
      [
        "sliding layers with an unused window",
        { use_sliding_window: false },
        "CONFIG_INVALID",
        '"use_sliding_window" true',
      ],
      ["a negative layer", { max_window_layers: -1 }, "CONFIG_INVALID", '"max_window_layers" is -1'],
    ]);
  });
});
