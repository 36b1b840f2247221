import { expect } from "chai";
import { resolveEncoderConfig } from "../../lib/models/config/encoder.js";
import { file, refuses } from "./config-cases.js";

/** all-MiniLM-L6-v2 on the hub (2021). */
const miniLm = {
  _name_or_path: "nreimers/MiniLM-L6-H384-uncased",
  architectures: ["BertModel"],
  attention_probs_dropout_prob: 0.1,
  gradient_checkpointing: false,
  hidden_act: "gelu",
  hidden_dropout_prob: 0.1,
  hidden_size: 384,
  initializer_range: 0.02,
  intermediate_size: 1536,
  layer_norm_eps: 1e-12,
  max_position_embeddings: 512,
  model_type: "bert",
  num_attention_heads: 12,
  num_hidden_layers: 6,
  pad_token_id: 0,
  position_embedding_type: "absolute",
  transformers_version: "4.8.2",
  type_vocab_size: 2,
  use_cache: true,
  vocab_size: 30522,
};

/** A small BERT as transformers 5.23 writes it. */
const bertOfTransformers5 = {
  add_cross_attention: false,
  attention_probs_dropout_prob: 0.1,
  bos_token_id: null,
  classifier_dropout: null,
  dtype: "float32",
  eos_token_id: null,
  hidden_act: "gelu",
  hidden_dropout_prob: 0.1,
  hidden_size: 16,
  initializer_range: 0.02,
  intermediate_size: 24,
  is_decoder: false,
  layer_norm_eps: 1e-12,
  max_position_embeddings: 512,
  model_type: "bert",
  num_attention_heads: 4,
  num_hidden_layers: 3,
  pad_token_id: 0,
  tie_word_embeddings: true,
  transformers_version: "5.23.0",
  type_vocab_size: 2,
  use_cache: true,
  vocab_size: 64,
};

/** roberta-base on the hub (2019). */
const roberta = {
  architectures: ["RobertaForMaskedLM"],
  attention_probs_dropout_prob: 0.1,
  bos_token_id: 0,
  eos_token_id: 2,
  hidden_act: "gelu",
  hidden_dropout_prob: 0.1,
  hidden_size: 768,
  initializer_range: 0.02,
  intermediate_size: 3072,
  layer_norm_eps: 1e-5,
  max_position_embeddings: 514,
  model_type: "roberta",
  num_attention_heads: 12,
  num_hidden_layers: 12,
  pad_token_id: 1,
  type_vocab_size: 1,
  vocab_size: 50265,
};

/** distilbert-base-uncased on the hub (2019). */
const distilBert = {
  activation: "gelu",
  architectures: ["DistilBertForMaskedLM"],
  attention_dropout: 0.2,
  dim: 768,
  dropout: 0.1,
  hidden_dim: 3072,
  initializer_range: 0.02,
  max_position_embeddings: 512,
  model_type: "distilbert",
  n_heads: 12,
  n_layers: 6,
  pad_token_id: 0,
  qa_dropout: 0.1,
  seq_classif_dropout: 0.2,
  sinusoidal_pos_embds: false,
  tie_weights_: true,
  transformers_version: "4.10.0.dev0",
  vocab_size: 30522,
};

const distilBertOfTransformers5 = {
  activation: "gelu",
  attention_dropout: 0.1,
  bos_token_id: null,
  dim: 16,
  dropout: 0.1,
  dtype: "float32",
  eos_token_id: null,
  hidden_dim: 24,
  initializer_range: 0.02,
  max_position_embeddings: 512,
  model_type: "distilbert",
  n_heads: 4,
  n_layers: 3,
  pad_token_id: 0,
  qa_dropout: 0.1,
  seq_classif_dropout: 0.2,
  sinusoidal_pos_embds: true,
  tie_word_embeddings: true,
  transformers_version: "5.23.0",
  vocab_size: 64,
};

const resolve = (config: object) => resolveEncoderConfig(config, file);

describe("models/config of encoders", () => {
  it("reads MiniLM as published", () => {
    expect(resolve(miniLm)).to.deep.equal({
      family: "encoder",
      modelType: "bert",
      config: {
        naming: "bert",
        vocabSize: 30522,
        hiddenSize: 384,
        intermediateSize: 1536,
        numLayers: 6,
        numHeads: 12,
        maxPositions: 512,
        firstPosition: 0,
        typeVocabSize: 2,
        normEpsilon: 1e-12,
        activation: "gelu",
        hiddenDropout: 0.1,
        attentionDropout: 0.1,
        similarityScale: 20,
      },
      endTokenIds: [],
      maxTokens: 512,
      nominalTokens: null,
    });
  });

  it("reads RoBERTa: positions from the one after the padding token's, no end of generation", () => {
    const resolved = resolve(roberta);
    expect(resolved).to.deep.include({ modelType: "roberta", endTokenIds: [], maxTokens: 512 });
    expect(resolved.config).to.include({
      naming: "roberta",
      maxPositions: 514,
      firstPosition: 2,
      typeVocabSize: 1,
      normEpsilon: 1e-5,
    });
    expect(resolve({ ...roberta, pad_token_id: 5 })).to.include({ maxTokens: 508 });
    for (const model_type of ["xlm-roberta", "camembert"]) {
      const related = resolve({ ...roberta, model_type });
      expect(related).to.include({ modelType: model_type });
      expect(related.config).to.deep.equal(resolved.config);
    }
  });

  it("reads DistilBERT: its own names, no token types", () => {
    const resolved = resolve(distilBert);
    expect(resolved).to.deep.include({ modelType: "distilbert", maxTokens: 512 });
    expect(resolved.config).to.deep.equal({
      naming: "distilbert",
      vocabSize: 30522,
      hiddenSize: 768,
      intermediateSize: 3072,
      numLayers: 6,
      numHeads: 12,
      maxPositions: 512,
      firstPosition: 0,
      typeVocabSize: 0,
      normEpsilon: 1e-12,
      activation: "gelu",
      hiddenDropout: 0.1,
      attentionDropout: 0.2,
      similarityScale: 20,
    });
  });

  it("reads what transformers 5 writes", () => {
    const small = { hiddenSize: 16, intermediateSize: 24, numLayers: 3, numHeads: 4 };
    expect(resolve(bertOfTransformers5).config).to.include({ ...small, naming: "bert", firstPosition: 0 });
    const positions = resolve({
      ...bertOfTransformers5,
      model_type: "roberta",
      pad_token_id: 1,
      eos_token_id: 2,
    });
    expect(positions.config).to.include({ ...small, naming: "roberta", firstPosition: 2, typeVocabSize: 2 });
    expect(positions).to.include({ maxTokens: 510 });
    expect(resolve(distilBertOfTransformers5).config).to.include({ ...small, naming: "distilbert" });
  });

  // What the configuration classes of transformers 5.23 resolve.
  it("gives absent fields the values they have in transformers", () => {
    const sizes = {
      vocab_size: 64,
      hidden_size: 16,
      intermediate_size: 24,
      num_hidden_layers: 1,
      num_attention_heads: 4,
    };
    const defaults = {
      maxPositions: 512,
      normEpsilon: 1e-12,
      activation: "gelu",
      hiddenDropout: 0.1,
      attentionDropout: 0.1,
    };
    expect(resolve({ ...sizes, model_type: "bert" }).config).to.include({
      ...defaults,
      firstPosition: 0,
      typeVocabSize: 2,
    });
    expect(resolve({ ...sizes, model_type: "roberta" }).config).to.include({
      ...defaults,
      firstPosition: 2,
      typeVocabSize: 2,
    });
    const own = {
      vocab_size: 64,
      dim: 16,
      hidden_dim: 24,
      n_layers: 1,
      n_heads: 4,
      model_type: "distilbert",
    };
    expect(resolve(own).config).to.include({ ...defaults, typeVocabSize: 0 });
  });

  it("does without a padding token where positions do not depend on it", () => {
    expect(resolve({ ...miniLm, pad_token_id: null })).to.deep.equal(resolve(miniLm));
  });

  refuses(resolveEncoderConfig, miniLm, [
    ["another type", { model_type: "mpnet" }, "CONFIG_UNSUPPORTED", '"mpnet"', "bert, roberta", "distilbert"],
    ["quantized weights", { quantization_config: {} }, "CONFIG_UNSUPPORTED", '"quantization_config"'],
    [
      "relative positions",
      { position_embedding_type: "relative_key" },
      "CONFIG_UNSUPPORTED",
      '"position_embedding_type" is "relative_key"; expected it to be absent or "absolute"',
    ],
    ["a decoder", { is_decoder: true }, "CONFIG_UNSUPPORTED", '"is_decoder" is true'],
    ["cross-attention", { add_cross_attention: true }, "CONFIG_UNSUPPORTED", '"add_cross_attention" is true'],
    [
      "an encoder and decoder",
      { is_encoder_decoder: true },
      "CONFIG_UNSUPPORTED",
      '"is_encoder_decoder" is true',
    ],
    ["removed heads", { pruned_heads: { 0: [1] } }, "CONFIG_UNSUPPORTED", '"pruned_heads" is {"0":[1]}'],
    [
      "an unknown activation",
      { hidden_act: "quick_gelu" },
      "CONFIG_UNSUPPORTED",
      '"hidden_act" is "quick_gelu"',
    ],
    ["a missing size", { intermediate_size: undefined }, "CONFIG_INVALID", '"intermediate_size" is missing'],
    [
      "a width that heads cannot share",
      { num_attention_heads: 10 },
      "CONFIG_INVALID",
      '"hidden_size" is 384; expected a multiple of "num_attention_heads", 10',
    ],
    ["a rate of one", { hidden_dropout_prob: 1 }, "CONFIG_INVALID", '"hidden_dropout_prob" is 1'],
    ["no token types", { type_vocab_size: 0 }, "CONFIG_INVALID", '"type_vocab_size" is 0'],
    ["no epsilon", { layer_norm_eps: 0 }, "CONFIG_INVALID", '"layer_norm_eps" is 0'],
  ]);

  describe("RoBERTa", () => {
    refuses(resolveEncoderConfig, roberta, [
      [
        "no padding token",
        { pad_token_id: null },
        "CONFIG_INVALID",
        '"pad_token_id" is null; expected a token id',
      ],
      [
        "no room for text",
        { max_position_embeddings: 2 },
        "CONFIG_INVALID",
        '"max_position_embeddings" is 2',
        "more than 2",
      ],
    ]);
  });

  describe("DistilBERT", () => {
    refuses(resolveEncoderConfig, distilBert, [
      ["a missing size", { dim: undefined }, "CONFIG_INVALID", '"dim" is missing'],
      ["a width that heads cannot share", { n_heads: 7 }, "CONFIG_INVALID", '"dim" is 768', '"n_heads", 7'],
      ["an unknown activation", { activation: "tanh" }, "CONFIG_UNSUPPORTED", '"activation" is "tanh"'],
    ]);
  });
});
