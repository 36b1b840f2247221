import { z } from "zod";
import type { EncoderConfig } from "../../native/contract.js";
import { checkFields } from "../json-file.js";
import {
  activationNamed,
  count,
  evenShare,
  invalid,
  layerCount,
  modelTypeOf,
  positive,
  rate,
  refuseEffective,
  text,
  tokenId,
} from "./fields.js";
import type { ModelConfig } from "./model-config.js";

/** XLM-RoBERTa and CamemBERT are RoBERTa with other vocabularies. */
const types = {
  bert: resolveBert,
  roberta: resolveRoberta,
  "xlm-roberta": resolveRoberta,
  camembert: resolveRoberta,
  distilbert: resolveDistilBert,
} as const;

export const encoderTypes: readonly (keyof typeof types)[] = Object.keys(types) as (keyof typeof types)[];

/** Logits are this times the cosine similarity of text and label, as sentence-transformers trains by default. */
const similarityScale = 20;

/** Layer norms of DistilBERT have no field in its config.json. */
const distilBertEpsilon = 1e-12;

const bertSchema = z.looseObject(
  {
    vocab_size: count,
    hidden_size: count,
    intermediate_size: count,
    num_hidden_layers: layerCount,
    num_attention_heads: count,
    hidden_act: text.default("gelu"),
    hidden_dropout_prob: rate.default(0.1),
    attention_probs_dropout_prob: rate.default(0.1),
    max_position_embeddings: count.default(512),
    type_vocab_size: count.default(2),
    layer_norm_eps: positive.default(1e-12),
  },
  "an object",
);

const distilBertSchema = z.looseObject(
  {
    vocab_size: count,
    dim: count,
    hidden_dim: count,
    n_layers: layerCount,
    n_heads: count,
    activation: text.default("gelu"),
    dropout: rate.default(0.1),
    attention_dropout: rate.default(0.1),
    max_position_embeddings: count.default(512),
  },
  "an object",
);

/** RoBERTa counts positions from the one after the padding token's, so it cannot do without. */
const paddingSchema = z.looseObject({ pad_token_id: tokenId.default(1) });

/** Fields that would change what is computed, and the values with which they do not. */
const effective = {
  is_encoder_decoder: [false],
  is_decoder: [false],
  add_cross_attention: [false],
  position_embedding_type: ["absolute"],
  pruned_heads: [{}],
};

/**
 * An encoder's hyperparameters from the parsed content of a config.json. What a file leaves out has the value it has in transformers
 * for its type; the sizes of the weights must be there.
 *
 * @param file - its path, for messages
 * @throws {RkifError} CONFIG_INVALID naming file and field; CONFIG_UNSUPPORTED for another `model_type` or activation, a quantized
 * model, relative positions, or an encoder that was made into a decoder.
 */
export function resolveEncoderConfig(config: unknown, file: string): ModelConfig & { family: "encoder" } {
  const modelType = modelTypeOf(config, file, encoderTypes);
  refuseEffective(config, file, effective);
  const resolved = types[modelType](config, file);
  const maxTokens = resolved.maxPositions - resolved.firstPosition;
  if (maxTokens < 1) {
    throw invalid(
      file,
      "max_position_embeddings",
      resolved.maxPositions,
      `more than ${resolved.firstPosition}, the position of the first token ("pad_token_id" + 1)`,
    );
  }
  return { family: "encoder", modelType, config: resolved, endTokenIds: [], maxTokens, nominalTokens: null };
}

function resolveBert(config: unknown, file: string): EncoderConfig {
  const fields = checkFields(bertSchema, config, file, "CONFIG_INVALID");
  evenShare(file, ["hidden_size", fields.hidden_size], ["num_attention_heads", fields.num_attention_heads]);
  return {
    naming: "bert",
    vocabSize: fields.vocab_size,
    hiddenSize: fields.hidden_size,
    intermediateSize: fields.intermediate_size,
    numLayers: fields.num_hidden_layers,
    numHeads: fields.num_attention_heads,
    maxPositions: fields.max_position_embeddings,
    firstPosition: 0,
    typeVocabSize: fields.type_vocab_size,
    normEpsilon: fields.layer_norm_eps,
    activation: activationNamed(fields.hidden_act, file, "hidden_act"),
    hiddenDropout: fields.hidden_dropout_prob,
    attentionDropout: fields.attention_probs_dropout_prob,
    similarityScale,
  };
}

/** BERT's fields, with positions that begin after the padding token's. */
function resolveRoberta(config: unknown, file: string): EncoderConfig {
  const { pad_token_id } = checkFields(paddingSchema, config, file, "CONFIG_INVALID");
  return { ...resolveBert(config, file), naming: "roberta", firstPosition: pad_token_id + 1 };
}

/** "sinusoidal_pos_embds" says how the position table was initialised; the table itself is in the checkpoint. */
function resolveDistilBert(config: unknown, file: string): EncoderConfig {
  const fields = checkFields(distilBertSchema, config, file, "CONFIG_INVALID");
  evenShare(file, ["dim", fields.dim], ["n_heads", fields.n_heads]);
  return {
    naming: "distilbert",
    vocabSize: fields.vocab_size,
    hiddenSize: fields.dim,
    intermediateSize: fields.hidden_dim,
    numLayers: fields.n_layers,
    numHeads: fields.n_heads,
    maxPositions: fields.max_position_embeddings,
    firstPosition: 0,
    typeVocabSize: 0,
    normEpsilon: distilBertEpsilon,
    activation: activationNamed(fields.activation, file, "activation"),
    hiddenDropout: fields.dropout,
    attentionDropout: fields.attention_dropout,
    similarityScale,
  };
}
