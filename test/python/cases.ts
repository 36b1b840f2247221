/** Small models of every family, each with an adapter configured in another of PEFT's ways. */
import type { ModelFamily } from "../../lib/native/contract.js";

export interface ModelCase {
  name: string;
  family: ModelFamily["family"];
  /** `model_type` of transformers. */
  type: string;
  /** Its class of transformers. */
  auto: string;
  /** Fields of config.json that are not the class' defaults. */
  config: Record<string, unknown>;
  /** Fields of PEFT's LoraConfig. */
  lora: Record<string, unknown>;
}

const special = { pad_token_id: 0, eos_token_id: 1, bos_token_id: 2, vocab_size: 48 };

function t5(name: string, config: ModelCase["config"], lora: ModelCase["lora"]): ModelCase {
  const shape = { d_model: 24, d_kv: 6, d_ff: 40, num_heads: 4, num_layers: 2 };
  return {
    ...{ name, family: "t5", type: "t5", auto: "AutoModelForSeq2SeqLM" },
    config: { ...special, ...shape, decoder_start_token_id: 0, dropout_rate: 0, ...config },
    lora: { task_type: "SEQ_2_SEQ_LM", ...lora },
  };
}

function decoder(type: string, config: ModelCase["config"], lora: ModelCase["lora"]): ModelCase {
  const shape = { hidden_size: 24, intermediate_size: 40, num_hidden_layers: 2, num_attention_heads: 4 };
  return {
    ...{ name: type, family: "decoder", type, auto: "AutoModelForCausalLM" },
    config: { ...special, ...shape, num_key_value_heads: 2, max_position_embeddings: 256, ...config },
    lora: { task_type: "CAUSAL_LM", ...lora },
  };
}

function encoder(
  name: string,
  { auto = "AutoModel", type = name, config = {}, lora }: Partial<ModelCase> & Pick<ModelCase, "lora">,
): ModelCase {
  const shape =
    type === "distilbert"
      ? { dim: 24, hidden_dim: 40, n_layers: 2, n_heads: 4, dropout: 0, attention_dropout: 0 }
      : {
          ...{ hidden_size: 24, intermediate_size: 40, num_hidden_layers: 2, num_attention_heads: 4 },
          ...{ hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 },
        };
  return {
    ...{ name, family: "encoder", type, auto },
    config: { ...special, ...shape, max_position_embeddings: 64, ...config },
    lora: auto === "AutoModel" ? { task_type: "FEATURE_EXTRACTION", ...lora } : lora,
  };
}

export const cases: readonly ModelCase[] = [
  t5("t5", {}, { r: 3, lora_alpha: 6, target_modules: ["q", "SelfAttention.v"] }),
  t5(
    "t5 gated, untied, every layer by rsLoRA",
    { feed_forward_proj: "gated-gelu", tie_word_embeddings: false },
    { r: 2, lora_alpha: 3, use_rslora: true, target_modules: "all-linear" },
  ),
  t5(
    "t5 with exclusions",
    {},
    { r: 2, lora_alpha: 8, target_modules: ["q", "wo"], exclude_modules: "decoder\\.block\\.0\\..*" },
  ),
  t5(
    "t5 by patterns",
    {},
    {
      ...{ r: 2, lora_alpha: 4, target_modules: ".*(Self|EncDec)Attention\\.(q|v|o)" },
      rank_pattern: { "decoder.*\\.q": 5, q: 1 },
      alpha_pattern: { "block.1.layer.0.SelfAttention.v": 9 },
    },
  ),
  decoder(
    "llama",
    { tie_word_embeddings: false },
    { r: 3, lora_alpha: 6, target_modules: ["q_proj", "v_proj"] },
  ),
  decoder(
    "mistral",
    { sliding_window: 4, head_dim: 8 },
    { r: 2, lora_alpha: 5, target_modules: "all-linear" },
  ),
  decoder(
    "qwen2",
    { tie_word_embeddings: true },
    {
      ...{ r: 2, lora_alpha: 4, target_modules: ["k_proj", "o_proj", "down_proj"] },
      ...{ layers_to_transform: [1], layers_pattern: "layers" },
    },
  ),
  decoder(
    "qwen3",
    { head_dim: 8, tie_word_embeddings: true },
    {
      ...{ r: 2, lora_alpha: 4, use_rslora: true, target_modules: ["q_proj", "gate_proj", "up_proj"] },
      rank_pattern: { "layers.0.self_attn.q_proj": 4, ".*up_proj": 1 },
      alpha_pattern: { gate_proj: 7 },
    },
  ),
  encoder("bert", { lora: { r: 3, lora_alpha: 6, target_modules: ["query", "value"] } }),
  encoder("bert in a class with a head", {
    ...{ type: "bert", auto: "AutoModelForMaskedLM" },
    lora: {
      ...{ r: 2, lora_alpha: 4, target_modules: ["query", "bert.encoder.layer.1.output.dense"] },
      rank_pattern: { "bert.encoder.layer.0.attention.self.query": 3 },
    },
  }),
  encoder("roberta", { lora: { r: 2, lora_alpha: 4, target_modules: "all-linear" } }),
  encoder("distilbert", { lora: { r: 2, lora_alpha: 4, target_modules: ["q_lin", "v_lin", "lin1"] } }),
];
