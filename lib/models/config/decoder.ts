import { z } from "zod";
import { RkifError } from "../../errors.js";
import type { DecoderConfig } from "../../native/contract.js";
import { checkFields } from "../json-file.js";
import { endTokenField, endTokens } from "./end-tokens.js";
import {
  activationNamed,
  count,
  evenShare,
  flag,
  invalid,
  layerCount,
  modelTypeOf,
  positive,
  rate,
  refuseEffective,
  text,
} from "./fields.js";
import type { ModelConfig } from "./model-config.js";
import { resolveRope } from "./rope.js";
import { everyLayer, lastLayers, noWindow, type SlidingRule } from "./sliding-windows.js";

/** What sets a type of decoder apart from the others; the rest is in its config.json. */
interface DecoderType {
  /** What an absent field means, as in transformers' configuration classes. Null: the head's share of the width; one for each head. */
  defaults: {
    headSize: number | null;
    keyValueHeads: number | null;
    positions: number;
    endToken: number | null;
  };
  /** The attention's biases: on all four projections where "attention_bias" says so, on q, k and v always, or never. */
  attentionBias: "configured" | "query-key-value" | "never";
  /** Whether "mlp_bias" means anything. */
  mlpBias: boolean;
  queryKeyNorm: boolean;
  sliding: SlidingRule;
}

const types = {
  llama: {
    defaults: { headSize: null, keyValueHeads: null, positions: 2048, endToken: 2 },
    attentionBias: "configured",
    mlpBias: true,
    queryKeyNorm: false,
    sliding: noWindow,
  },
  mistral: {
    defaults: { headSize: null, keyValueHeads: 8, positions: 131_072, endToken: 2 },
    attentionBias: "never",
    mlpBias: false,
    queryKeyNorm: false,
    sliding: everyLayer,
  },
  qwen2: {
    defaults: { headSize: null, keyValueHeads: 32, positions: 32_768, endToken: null },
    attentionBias: "query-key-value",
    mlpBias: false,
    queryKeyNorm: false,
    sliding: lastLayers,
  },
  qwen3: {
    defaults: { headSize: 128, keyValueHeads: 32, positions: 32_768, endToken: null },
    attentionBias: "configured",
    mlpBias: false,
    queryKeyNorm: true,
    sliding: lastLayers,
  },
} as const satisfies Record<string, DecoderType>;

export const decoderTypes: readonly (keyof typeof types)[] = Object.keys(types) as (keyof typeof types)[];

const schemaOf = ({ defaults }: DecoderType) =>
  z.looseObject(
    {
      vocab_size: count,
      hidden_size: count,
      intermediate_size: count,
      num_hidden_layers: layerCount,
      num_attention_heads: count,
      num_key_value_heads: count.nullable().default(defaults.keyValueHeads),
      head_dim: count.nullable().default(defaults.headSize),
      hidden_act: text.default("silu"),
      max_position_embeddings: count.default(defaults.positions),
      rms_norm_eps: positive.default(1e-6),
      attention_bias: flag.nullish(),
      mlp_bias: flag.nullish(),
      attention_dropout: rate.nullish(),
      tie_word_embeddings: flag.nullish(),
      eos_token_id: endTokenField.default(defaults.endToken),
    },
    "an object",
  );

/**
 * Fields by which related models change what is computed, and the values with which they do not. A checkpoint that says it is one of
 * the types here and has such a field was made for other code.
 */
const ofRelatedModels = {
  is_encoder_decoder: [false],
  is_causal: [true],
  use_bidirectional_attention: [false],
  attention_chunk_size: [],
  alibi: [false],
  use_mrope: [false],
  no_rope_layers: [[]],
  qk_norm: [false],
  use_qk_norm: [false],
  qk_layernorm: [false],
  use_qk_layernorm: [false],
  clip_qkv: [],
  use_parallel_residual: [false],
  parallel_attn: [false],
  attn_logit_softcapping: [],
  final_logit_softcapping: [],
  attention_multiplier: [],
  query_pre_attn_scalar: [],
  logit_scale: [1],
  logits_scaling: [1],
  embedding_multiplier: [1],
  residual_multiplier: [1],
  scale_emb: [1],
  scale_depth: [],
  num_experts: [0],
  num_local_experts: [0],
  n_routed_experts: [0],
  moe_num_experts: [0],
};

/**
 * A decoder's hyperparameters from the parsed content of a config.json, as published on the hub for years or as transformers 5 writes
 * it. What a file leaves out has the value it has in transformers for its type; the sizes of the weights must be there.
 *
 * @param file - its path, for messages
 * @throws {RkifError} CONFIG_INVALID naming file and field; CONFIG_UNSUPPORTED for another `model_type`, rotation or activation, a
 * quantized model, or a field of related models that would change the result.
 */
export function resolveDecoderConfig(config: unknown, file: string): ModelConfig & { family: "decoder" } {
  const modelType = modelTypeOf(config, file, decoderTypes);
  const type: DecoderType = types[modelType];
  refuseEffective(config, file, ofRelatedModels);
  const fields = checkFields(schemaOf(type), config, file, "CONFIG_INVALID");
  const maxPositions = fields.max_position_embeddings;
  const attentionBias = type.attentionBias === "configured" && (fields.attention_bias ?? false);
  return {
    family: "decoder",
    modelType,
    config: {
      vocabSize: fields.vocab_size,
      hiddenSize: fields.hidden_size,
      intermediateSize: fields.intermediate_size,
      numLayers: fields.num_hidden_layers,
      ...heads(fields, file),
      normEpsilon: fields.rms_norm_eps,
      activation: activationNamed(fields.hidden_act, file, "hidden_act"),
      rope: resolveRope(config, file, maxPositions),
      slidingWindows: type.sliding(config, file, fields.num_hidden_layers),
      queryKeyNorm: type.queryKeyNorm,
      queryKeyValueBias: attentionBias || type.attentionBias === "query-key-value",
      outputBias: attentionBias,
      mlpBias: type.mlpBias && (fields.mlp_bias ?? false),
      attentionDropout: fields.attention_dropout ?? 0,
      tieWordEmbeddings: fields.tie_word_embeddings ?? false,
    },
    endTokenIds: endTokens(fields.eos_token_id, fields.vocab_size, file),
    maxTokens: null,
    nominalTokens: maxPositions,
  };
}

function heads(
  fields: z.output<ReturnType<typeof schemaOf>>,
  file: string,
): Pick<DecoderConfig, "numHeads" | "numKeyValueHeads" | "headSize"> {
  const { hidden_size, num_attention_heads: numHeads } = fields;
  const numKeyValueHeads = fields.num_key_value_heads ?? numHeads;
  if (numHeads % numKeyValueHeads !== 0) {
    throw invalid(
      file,
      "num_key_value_heads",
      numKeyValueHeads,
      `a divisor of "num_attention_heads", ${numHeads}, also where the file leaves the field out and has the default`,
    );
  }
  const headSize =
    fields.head_dim ?? evenShare(file, ["hidden_size", hidden_size], ["num_attention_heads", numHeads]);
  if (headSize % 2 !== 0) {
    const field = fields.head_dim === null ? '"hidden_size" / "num_attention_heads"' : '"head_dim"';
    throw new RkifError(
      "CONFIG_INVALID",
      `${file}: ${field} is ${headSize}; expected an even number of channels in a head, for they are rotated in pairs`,
    );
  }
  return { numHeads, numKeyValueHeads, headSize };
}
