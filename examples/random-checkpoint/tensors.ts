/** Names, shapes and spreads of a checkpoint's tensors, in the order of the Hugging Face state dict. */
import type { DecoderConfig, T5Config } from "../../lib/native/contract.js";

export interface TensorSpec {
  name: string;
  shape: number[];
  /** Standard deviation of the values; null: all are 1. */
  deviation: number | null;
}

/** What of a configuration the tensors follow from. */
export interface T5Shape extends Pick<
  T5Config,
  "vocabSize" | "dModel" | "dKv" | "dFf" | "numHeads" | "numLayers" | "relativeAttentionNumBuckets"
> {
  family: "t5";
}

export interface DecoderShape extends Pick<
  DecoderConfig,
  | "vocabSize"
  | "hiddenSize"
  | "intermediateSize"
  | "numLayers"
  | "numHeads"
  | "numKeyValueHeads"
  | "headSize"
  | "queryKeyValueBias"
  | "tieWordEmbeddings"
> {
  family: "decoder";
}

export type Shape = T5Shape | DecoderShape;

export function tensorsOf(shape: Shape): TensorSpec[] {
  return [...(shape.family === "t5" ? t5Tensors(shape) : decoderTensors(shape))];
}

/**
 * Matrices whose outputs are as large as their inputs: with norms of 1 every layer adds about as much to the residual stream as the
 * embedding put there, so 40 layers end within a factor of ten of it, in any number type.
 */
function linear(
  name: string,
  outputs: number,
  inputs: number,
  deviation: number = inputs ** -0.5,
): TensorSpec {
  return { name: `${name}.weight`, shape: [outputs, inputs], deviation };
}

const norm = (name: string, size: number): TensorSpec => ({
  name: `${name}.weight`,
  shape: [size],
  deviation: null,
});

function* decoderTensors(shape: DecoderShape): Generator<TensorSpec> {
  const { hiddenSize: hidden, intermediateSize: inner, headSize, vocabSize } = shape;
  const queries = shape.numHeads * headSize;
  const keys = shape.numKeyValueHeads * headSize;
  // A tied head turns states of length sqrt(hidden) into logits: these shall be about 1.
  yield linear("model.embed_tokens", vocabSize, hidden, shape.tieWordEmbeddings ? hidden ** -0.5 : 1);
  for (let layer = 0; layer < shape.numLayers; layer++) {
    const at = `model.layers.${layer}`;
    const outputs: [string, number][] = [
      ["q_proj", queries],
      ["k_proj", keys],
      ["v_proj", keys],
    ];
    for (const [name, size] of outputs) {
      yield linear(`${at}.self_attn.${name}`, size, hidden);
      if (shape.queryKeyValueBias)
        yield { name: `${at}.self_attn.${name}.bias`, shape: [size], deviation: 0.1 };
    }
    yield linear(`${at}.self_attn.o_proj`, hidden, queries);
    yield linear(`${at}.mlp.gate_proj`, inner, hidden);
    yield linear(`${at}.mlp.up_proj`, inner, hidden);
    yield linear(`${at}.mlp.down_proj`, hidden, inner);
    yield norm(`${at}.input_layernorm`, hidden);
    yield norm(`${at}.post_attention_layernorm`, hidden);
  }
  yield norm("model.norm", hidden);
  if (!shape.tieWordEmbeddings) yield linear("lm_head", vocabSize, hidden);
}

function* t5Tensors(shape: T5Shape): Generator<TensorSpec> {
  // A tied head, whose input is scaled by dModel ** -0.5.
  yield linear("shared", shape.vocabSize, shape.dModel, 1);
  yield* t5Stack(shape, "encoder");
  yield* t5Stack(shape, "decoder");
}

function* t5Stack(shape: T5Shape, stack: "encoder" | "decoder"): Generator<TensorSpec> {
  const { dModel, dFf, numHeads, relativeAttentionNumBuckets: buckets } = shape;
  for (let block = 0; block < shape.numLayers; block++) {
    const at = `${stack}.block.${block}.layer`;
    yield* t5Attention(shape, `${at}.0.SelfAttention`);
    if (block === 0) {
      yield linear(`${at}.0.SelfAttention.relative_attention_bias`, buckets, numHeads, dModel ** -0.5);
    }
    yield norm(`${at}.0.layer_norm`, dModel);
    if (stack === "decoder") {
      yield* t5Attention(shape, `${at}.1.EncDecAttention`);
      yield norm(`${at}.1.layer_norm`, dModel);
    }
    const last = `${at}.${stack === "decoder" ? 2 : 1}`;
    yield linear(`${last}.DenseReluDense.wi`, dFf, dModel);
    yield linear(`${last}.DenseReluDense.wo`, dModel, dFf);
    yield norm(`${last}.layer_norm`, dModel);
  }
  yield norm(`${stack}.final_layer_norm`, dModel);
}

/** T5 does not divide the scores by sqrt(dKv): its queries are smaller by that. */
function* t5Attention({ dModel, dKv, numHeads }: T5Shape, at: string): Generator<TensorSpec> {
  const inner = dKv * numHeads;
  yield linear(`${at}.q`, inner, dModel, (dModel * dKv) ** -0.5);
  yield linear(`${at}.k`, inner, dModel);
  yield linear(`${at}.v`, inner, dModel);
  yield linear(`${at}.o`, dModel, inner);
}
