/** Published shapes with their config.json as on the Hugging Face hub, but for the ids of special tokens. */
import type { DecoderShape, Shape, T5Shape } from "./tensors.js";

export interface Published {
  shape: Shape;
  config: Record<string, unknown>;
  type: "F32" | "BF16";
  /** Bytes of the largest file; more is split, as on the hub. */
  maxShardBytes: number;
}

function t5(dModel: number, dFf: number, numHeads: number, numLayers: number): Published {
  const shape: T5Shape = {
    family: "t5",
    vocabSize: 32128,
    dModel,
    dKv: 64,
    dFf,
    numHeads,
    numLayers,
    relativeAttentionNumBuckets: 32,
  };
  const config = {
    architectures: ["T5ForConditionalGeneration"],
    d_ff: dFf,
    d_kv: shape.dKv,
    d_model: dModel,
    decoder_start_token_id: 0,
    dropout_rate: 0.1,
    eos_token_id: 1,
    is_encoder_decoder: true,
    layer_norm_epsilon: 1e-6,
    model_type: "t5",
    n_positions: 512,
    num_heads: numHeads,
    num_layers: numLayers,
    output_past: true,
    pad_token_id: 0,
    relative_attention_num_buckets: shape.relativeAttentionNumBuckets,
    vocab_size: shape.vocabSize,
  };
  return { shape, config, type: "F32", maxShardBytes: Infinity };
}

type DecoderSizes = Omit<DecoderShape, "family" | "headSize"> & { headSize?: number };

function decoder(sizes: DecoderSizes, config: Record<string, unknown>): Published {
  const shape: DecoderShape = { family: "decoder", headSize: sizes.hiddenSize / sizes.numHeads, ...sizes };
  return {
    shape,
    config: {
      bos_token_id: null,
      eos_token_id: 1,
      hidden_act: "silu",
      hidden_size: shape.hiddenSize,
      initializer_range: 0.02,
      intermediate_size: shape.intermediateSize,
      num_attention_heads: shape.numHeads,
      num_hidden_layers: shape.numLayers,
      num_key_value_heads: shape.numKeyValueHeads,
      pad_token_id: 0,
      tie_word_embeddings: shape.tieWordEmbeddings,
      torch_dtype: "bfloat16",
      use_cache: true,
      vocab_size: shape.vocabSize,
      ...config,
    },
    type: "BF16",
    maxShardBytes: 10e9,
  };
}

function llama2(
  hiddenSize: number,
  intermediateSize: number,
  numLayers: number,
  numHeads: number,
): Published {
  return decoder(
    {
      vocabSize: 32000,
      hiddenSize,
      intermediateSize,
      numLayers,
      numHeads,
      numKeyValueHeads: numHeads,
      queryKeyValueBias: false,
      tieWordEmbeddings: false,
    },
    {
      architectures: ["LlamaForCausalLM"],
      max_position_embeddings: 4096,
      model_type: "llama",
      pretraining_tp: 1,
      rms_norm_eps: 1e-5,
      rope_scaling: null,
    },
  );
}

export const PUBLISHED: Readonly<Record<string, Published>> = {
  "t5-small": t5(512, 2048, 8, 6),
  "t5-base": t5(768, 3072, 12, 12),
  "t5-large": t5(1024, 4096, 16, 24),
  "llama-2-7b": llama2(4096, 11008, 32, 32),
  "llama-2-13b": llama2(5120, 13824, 40, 40),
  "llama-3.2-1b": decoder(
    {
      vocabSize: 128256,
      hiddenSize: 2048,
      intermediateSize: 8192,
      numLayers: 16,
      numHeads: 32,
      numKeyValueHeads: 8,
      queryKeyValueBias: false,
      tieWordEmbeddings: true,
    },
    {
      architectures: ["LlamaForCausalLM"],
      attention_bias: false,
      head_dim: 64,
      max_position_embeddings: 131072,
      mlp_bias: false,
      model_type: "llama",
      rms_norm_eps: 1e-5,
      rope_scaling: {
        factor: 32.0,
        high_freq_factor: 4.0,
        low_freq_factor: 1.0,
        original_max_position_embeddings: 8192,
        rope_type: "llama3",
      },
      rope_theta: 500000.0,
    },
  ),
  "qwen2.5-0.5b": decoder(
    {
      vocabSize: 151936,
      hiddenSize: 896,
      intermediateSize: 4864,
      numLayers: 24,
      numHeads: 14,
      numKeyValueHeads: 2,
      queryKeyValueBias: true,
      tieWordEmbeddings: true,
    },
    {
      architectures: ["Qwen2ForCausalLM"],
      max_position_embeddings: 32768,
      max_window_layers: 24,
      model_type: "qwen2",
      rms_norm_eps: 1e-6,
      rope_theta: 1000000.0,
      sliding_window: 32768,
      use_mrope: false,
      use_sliding_window: false,
    },
  ),
};
