import { z } from "zod";
import { RkifError } from "../../errors.js";
import type { T5Config } from "../../native/contract.js";
import type { HeadInCheckpoint } from "../checkpoint-files.js";
import { checkFields, shown } from "../json-file.js";
import { endTokenField, endTokens } from "./end-tokens.js";
import {
  activationNamed,
  count,
  flag,
  invalid,
  modelTypeOf,
  positive,
  rate,
  refuseEffective,
  text,
  tokenId,
} from "./fields.js";
import type { ModelConfig } from "./model-config.js";

export const t5Types: readonly string[] = ["t5"];

/**
 * The fields that matter; files on the hub carry many more. What classic files lack has the value it has always meant; null
 * counts as absent where transformers writes null for "the default".
 */
const schema = z.looseObject(
  {
    vocab_size: count,
    d_model: count,
    d_kv: count,
    d_ff: count,
    num_heads: count,
    num_layers: count,
    num_decoder_layers: count.nullish(),
    relative_attention_num_buckets: count.default(32),
    relative_attention_max_distance: count.default(128),
    layer_norm_epsilon: positive.default(1e-6),
    dropout_rate: rate.default(0.1),
    feed_forward_proj: text.default("relu"),
    dense_act_fn: text.nullish(),
    is_gated_act: flag.nullish(),
    tie_word_embeddings: flag.nullish(),
    scale_decoder_outputs: flag.nullish(),
    pad_token_id: tokenId.default(0),
    eos_token_id: endTokenField.default(1),
    decoder_start_token_id: tokenId.nullish(),
  },
  "an object",
);

/**
 * T5's hyperparameters from the parsed content of a config.json, as published on the hub for years or as transformers 5 writes it.
 *
 * Whether the head is the embedding is not in the file alone. `tie_word_embeddings: false` means a head of its own and no scaling of
 * the decoder's output. transformers 5 writes such a model as `tie_word_embeddings: true, scale_decoder_outputs: false` with a
 * "lm_head.weight" in the checkpoint that differs from the embedding; where it is absent or equal, the head is the embedding and the
 * output stays unscaled.
 *
 * @param file - its path, for messages
 * @param head - what the checkpoint holds as head; absent: decided by the configuration alone
 * @throws {RkifError} CONFIG_INVALID naming file and field; CONFIG_UNSUPPORTED for another family, activation or a quantized model.
 */
export function resolveT5Config(
  config: unknown,
  file: string,
  head?: HeadInCheckpoint,
): ModelConfig & { family: "t5" } {
  const modelType = modelTypeOf(config, file, t5Types);
  refuseEffective(config, file, { is_encoder_decoder: [true] });
  const fields = checkFields(schema, config, file, "CONFIG_INVALID");
  const tied = fields.tie_word_embeddings ?? true;
  const scaled = fields.scale_decoder_outputs ?? tied;
  const ownHead = head !== undefined && head.present && !head.equalsEmbedding;
  const resolved: T5Config = {
    vocabSize: fields.vocab_size,
    dModel: fields.d_model,
    dKv: fields.d_kv,
    dFf: fields.d_ff,
    numHeads: fields.num_heads,
    numLayers: fields.num_layers,
    numDecoderLayers: fields.num_decoder_layers ?? fields.num_layers,
    relativeAttentionNumBuckets: fields.relative_attention_num_buckets,
    relativeAttentionMaxDistance: fields.relative_attention_max_distance,
    layerNormEpsilon: fields.layer_norm_epsilon,
    dropoutRate: fields.dropout_rate,
    ...feedForward(fields, file),
    tieWordEmbeddings: tied && (scaled || !ownHead),
    scaleDecoderOutputs: scaled,
    padTokenId: fields.pad_token_id,
    decoderStartTokenId: fields.decoder_start_token_id ?? fields.pad_token_id,
  };
  for (const [field, id] of [
    ["pad_token_id", resolved.padTokenId],
    ["decoder_start_token_id", resolved.decoderStartTokenId],
  ] as const) {
    if (id >= resolved.vocabSize)
      throw invalid(file, field, id, `less than "vocab_size", ${resolved.vocabSize}`);
  }
  return {
    family: "t5",
    modelType,
    config: resolved,
    endTokenIds: endTokens(fields.eos_token_id, resolved.vocabSize, file),
    maxTokens: null,
    nominalTokens: null,
  };
}

/** Whether a head in the checkpoint could change what config.json alone says; see {@link resolveT5Config}. */
export function headDecides({ tieWordEmbeddings, scaleDecoderOutputs }: T5Config): boolean {
  return tieWordEmbeddings && !scaleDecoderOutputs;
}

/** `dense_act_fn` and `is_gated_act`, where they are given, win over what `feed_forward_proj` says, as in transformers. */
function feedForward(fields: z.infer<typeof schema>, file: string): Pick<T5Config, "activation" | "gated"> {
  const projection = fields.feed_forward_proj;
  const parts = projection.split("-");
  if (parts.length > 2 || (parts.length === 2 && parts[0] !== "gated")) {
    throw new RkifError(
      "CONFIG_INVALID",
      `${file}: "feed_forward_proj" is ${shown(projection)}; expected an activation, or "gated-" and an activation`,
    );
  }
  // "gated-gelu" has always meant the tanh approximation; "gelu" alone is the exact one.
  const name = fields.dense_act_fn ?? (projection === "gated-gelu" ? "gelu_new" : parts.slice(-1).join());
  const field = typeof fields.dense_act_fn === "string" ? "dense_act_fn" : "feed_forward_proj";
  return {
    activation: activationNamed(name, file, field, fields[field]),
    gated: fields.is_gated_act ?? parts[0] === "gated",
  };
}
