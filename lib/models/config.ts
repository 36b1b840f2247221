import { join } from "node:path";
import { z } from "zod";
import { RkifError } from "../errors.js";
import type { T5Config } from "../native/contract.js";
import { headInCheckpoint, type HeadInCheckpoint, openWithAddon, type OpenSafetensors } from "./checkpoint-files.js";
import { checkFields, readJsonFile, shown } from "./json-file.js";

/** Values of `model_type` that can be loaded. */
export const supportedModelTypes: readonly string[] = ["t5"];

/** transformers' names of activation functions, and the contract's. */
const activations: ReadonlyMap<string, T5Config["activation"]> = new Map([
  ["relu", "relu"],
  ["gelu", "gelu"],
  ["gelu_new", "gelu_new"],
  ["silu", "silu"],
  ["swish", "silu"],
]);

const largest = 2 ** 31 - 1;
const count = z.int("a positive integer").min(1, "a positive integer").max(largest, `at most ${largest}`);
const tokenId = z.int("a token id").min(0, "a token id").max(largest, "a token id");
const flag = z.boolean("true or false");
const text = z.string("a string");
const rate = z.number("a rate from 0 to less than 1").min(0, "at least 0").lt(1, "less than 1");
const epsilon = z.number("a positive number").gt(0, "a positive number");
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
    layer_norm_epsilon: epsilon.default(1e-6),
    dropout_rate: rate.default(0.1),
    feed_forward_proj: text.default("relu"),
    dense_act_fn: text.nullish(),
    is_gated_act: flag.nullish(),
    tie_word_embeddings: flag.nullish(),
    scale_decoder_outputs: flag.nullish(),
    pad_token_id: tokenId.default(0),
    eos_token_id: z.union([tokenId, z.array(tokenId).min(1)], "a token id").default(1),
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
export function resolveT5Config(config: unknown, file: string, head?: HeadInCheckpoint): T5Config {
  checkFamily(config, file);
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
    eosTokenId: endToken(fields.eos_token_id, file),
    decoderStartTokenId: fields.decoder_start_token_id ?? fields.pad_token_id,
  };
  for (const [field, id] of [
    ["pad_token_id", resolved.padTokenId],
    ["eos_token_id", resolved.eosTokenId],
    ["decoder_start_token_id", resolved.decoderStartTokenId],
  ] as const) {
    if (id >= resolved.vocabSize) {
      throw new RkifError(
        "CONFIG_INVALID",
        `${file}: "${field}" is ${id}; expected less than "vocab_size", ${resolved.vocabSize}`,
      );
    }
  }
  return resolved;
}

/**
 * Reads config.json of a checkpoint folder and decides with the checkpoint's tensors, as {@link resolveT5Config} describes.
 * @param files - the checkpoint's safetensors files
 * @throws {RkifError} CONFIG_INVALID, CONFIG_UNSUPPORTED; CHECKPOINT_INVALID where a file must be looked into and breaks its format.
 */
export async function readT5Config(
  folder: string,
  files: readonly string[],
  open: OpenSafetensors = openWithAddon,
): Promise<T5Config> {
  const file = join(folder, "config.json");
  const config = await readJsonFile(file, "CONFIG_INVALID");
  const byItself = resolveT5Config(config, file);
  // Only here does the checkpoint decide; comparing two embeddings may mean reading hundreds of megabytes.
  if (!byItself.tieWordEmbeddings || byItself.scaleDecoderOutputs) return byItself;
  return resolveT5Config(config, file, await headInCheckpoint(files, open));
}

function checkFamily(config: unknown, file: string): void {
  const family = z.looseObject(
    {
      model_type: z.string(`a model type (${supportedModelTypes.join(", ")})`),
      is_encoder_decoder: flag.nullish(),
      quantization_config: z.unknown().optional(),
    },
    "an object",
  );
  const { model_type, is_encoder_decoder, quantization_config } = checkFields(
    family,
    config,
    file,
    "CONFIG_INVALID",
  );
  if (!supportedModelTypes.includes(model_type)) {
    throw unsupported(file, "model_type", model_type, `expected one of ${supportedModelTypes.join(", ")}`);
  }
  if (is_encoder_decoder === false) {
    throw unsupported(file, "is_encoder_decoder", false, "expected a model with encoder and decoder");
  }
  if (quantization_config !== undefined && quantization_config !== null) {
    throw unsupported(
      file,
      "quantization_config",
      quantization_config,
      "expected weights stored as F32, F16 or BF16",
    );
  }
}

/** transformers writes a list where generation may end with any of several tokens. */
function endToken(ids: number | number[], file: string): number {
  const [first, ...others] = [ids].flat();
  if (first === undefined || others.length > 0) throw unsupported(file, "eos_token_id", ids, "expected one end token");
  return first;
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
  const activation = activations.get(name);
  if (activation === undefined) {
    const field = typeof fields.dense_act_fn === "string" ? "dense_act_fn" : "feed_forward_proj";
    throw unsupported(file, field, fields[field], `expected one of ${[...activations.keys()].join(", ")}`);
  }
  return { activation, gated: fields.is_gated_act ?? parts[0] === "gated" };
}

function unsupported(file: string, field: string, found: unknown, expected: string): RkifError {
  return new RkifError("CONFIG_UNSUPPORTED", `${file}: "${field}" is ${shown(found)}; ${expected}`);
}
