import { expect } from "chai";
import { resolveModelConfig } from "../../lib/models/config/index.js";
import { layerWeights } from "../../lib/models/threads.js";

const common = {
  vocab_size: 100,
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
};

describe("models/threads", () => {
  it("counts the weights of a model's layers, whatever its family", () => {
    const count = (config: object): number => layerWeights(resolveModelConfig(config, "config.json"));
    const t5 = {
      model_type: "t5",
      vocab_size: 100,
      d_model: 24,
      d_kv: 6,
      d_ff: 40,
      num_heads: 4,
      num_layers: 2,
    };
    expect(count(t5)).to.equal(2 * (4 * 24 * 24 + 2 * 24 * 40) + 2 * (8 * 24 * 24 + 2 * 24 * 40));
    expect(count({ ...t5, feed_forward_proj: "gated-gelu", num_decoder_layers: 1 })).to.equal(
      2 * (4 * 24 * 24 + 3 * 24 * 40) + (8 * 24 * 24 + 3 * 24 * 40),
    );
    const llama = { ...common, model_type: "llama", num_key_value_heads: 2, rms_norm_eps: 1e-6 };
    expect(count(llama)).to.equal(2 * (2 * 24 * 24 + 2 * 24 * 12 + 3 * 24 * 40));
    expect(count({ ...common, model_type: "bert" })).to.equal(2 * (4 * 24 * 24 + 2 * 24 * 40));
  });
});
