import { hash } from "../../lib/data/random.js";
import type { T5Config, TensorToWrite } from "../../lib/native/contract.js";

/** The embedded model's hyperparameters, but for the size of its vocabulary. */
export const SHAPE: Omit<T5Config, "vocabSize"> = {
  dModel: 128,
  dKv: 32,
  dFf: 256,
  numHeads: 4,
  numLayers: 3,
  numDecoderLayers: 3,
  relativeAttentionNumBuckets: 32,
  relativeAttentionMaxDistance: 128,
  layerNormEpsilon: 1e-6,
  // Every pre-training record is new, so there is nothing to regularise.
  dropoutRate: 0,
  activation: "relu",
  gated: false,
  tieWordEmbeddings: true,
  scaleDecoderOutputs: true,
  padTokenId: 0,
  decoderStartTokenId: 0,
};

/** Ends prompts and answers. */
export const END_TOKEN = 1;

/** The same as config.json, in the form of the Hugging Face hub. */
export function configJson(shape: T5Config): Record<string, unknown> {
  return {
    architectures: ["T5ForConditionalGeneration"],
    model_type: "t5",
    vocab_size: shape.vocabSize,
    d_model: shape.dModel,
    d_kv: shape.dKv,
    d_ff: shape.dFf,
    num_heads: shape.numHeads,
    num_layers: shape.numLayers,
    num_decoder_layers: shape.numDecoderLayers,
    relative_attention_num_buckets: shape.relativeAttentionNumBuckets,
    relative_attention_max_distance: shape.relativeAttentionMaxDistance,
    layer_norm_epsilon: shape.layerNormEpsilon,
    dropout_rate: shape.dropoutRate,
    feed_forward_proj: shape.gated
      ? `gated-${shape.activation.replace("gelu_new", "gelu")}`
      : shape.activation,
    is_encoder_decoder: true,
    use_cache: true,
    tie_word_embeddings: shape.tieWordEmbeddings,
    pad_token_id: shape.padTokenId,
    eos_token_id: END_TOKEN,
    decoder_start_token_id: shape.decoderStartTokenId,
    torch_dtype: "bfloat16",
  };
}

/**
 * A random checkpoint by Hugging Face names. Standard deviations are those that transformers' T5 starts from, except the
 * embedding's: at 1.0 the tied head starts with logits far from flat, and a short training cannot afford to unlearn them.
 * Values are drawn evenly instead of normally: the same spread from integer arithmetic alone, hence the same on every machine.
 */
export function randomCheckpoint(shape: T5Config, seed: number): TensorToWrite[] {
  const { dModel, dKv, dFf, numHeads } = shape;
  const heads = dKv * numHeads;
  const tensors: TensorToWrite[] = [];
  const draw = (name: string, dimensions: number[], deviation: number): void => {
    const key = hash(seed, tensors.length);
    // The standard deviation of an even distribution over [-a, a] is a / sqrt(3).
    const bound = deviation * Math.sqrt(3);
    const values = Float32Array.from(
      { length: dimensions.reduce((product, size) => product * size, 1) },
      (_, i) => (hash(key, i) / 2 ** 31 - 1) * bound,
    );
    tensors.push({ name, shape: dimensions, type: "F32", from: values });
  };
  const norm = (name: string): void => {
    tensors.push({
      name: `${name}.weight`,
      shape: [dModel],
      type: "F32",
      from: new Float32Array(dModel).fill(1),
    });
  };
  const attention = (name: string): void => {
    draw(`${name}.q.weight`, [heads, dModel], (dModel * dKv) ** -0.5);
    draw(`${name}.k.weight`, [heads, dModel], dModel ** -0.5);
    draw(`${name}.v.weight`, [heads, dModel], dModel ** -0.5);
    draw(`${name}.o.weight`, [dModel, heads], heads ** -0.5);
  };
  const stack = (name: string, layers: number, crossAttends: boolean): void => {
    for (let layer = 0; layer < layers; layer++) {
      const block = `${name}.block.${layer}.layer`;
      attention(`${block}.0.SelfAttention`);
      if (layer === 0) {
        const dimensions = [shape.relativeAttentionNumBuckets, numHeads];
        draw(`${block}.0.SelfAttention.relative_attention_bias.weight`, dimensions, dModel ** -0.5);
      }
      norm(`${block}.0.layer_norm`);
      if (crossAttends) {
        attention(`${block}.1.EncDecAttention`);
        norm(`${block}.1.layer_norm`);
      }
      const last = `${block}.${crossAttends ? 2 : 1}`;
      for (const into of shape.gated ? ["wi_0", "wi_1"] : ["wi"]) {
        draw(`${last}.DenseReluDense.${into}.weight`, [dFf, dModel], dModel ** -0.5);
      }
      draw(`${last}.DenseReluDense.wo.weight`, [dModel, dFf], dFf ** -0.5);
      norm(`${last}.layer_norm`);
    }
    norm(`${name}.final_layer_norm`);
  };
  draw("shared.weight", [shape.vocabSize, dModel], 0.3);
  stack("encoder", shape.numLayers, false);
  stack("decoder", shape.numDecoderLayers, true);
  return tensors;
}
