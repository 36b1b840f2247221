import type { ModelFamily } from "../../native/contract.js";

/** What a checkpoint's configuration says about the model: its family with all hyperparameters, and how long its texts may be. */
export type ModelConfig = ModelFamily & {
  /** `model_type` of config.json, such as "llama". */
  modelType: string;
  /** Generation ends with any of these. Empty for encoders, and where the checkpoint names none. */
  endTokenIds: number[];
  /** Tokens of the longest sequence the model can take at all; null: no hard limit (T5, rotary positions). */
  maxTokens: number | null;
  /** Decoders: tokens of the longest sequence the model was made for, beyond which it degrades; else null. */
  nominalTokens: number | null;
};
