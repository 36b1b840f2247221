import { expect } from "chai";
import { symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type ModelConfig,
  readModelConfig,
  resolveModelConfig,
  supportedModelTypes,
} from "../../lib/models/config/index.js";
import { file } from "./config-cases.js";
import { failure, plainOpen, withFolder, writeTensors } from "./tiny-safetensors.js";

const t5 = { model_type: "t5", vocab_size: 64, d_model: 16, d_kv: 4, d_ff: 24, num_heads: 3, num_layers: 2 };

const llama = {
  model_type: "llama",
  vocab_size: 64,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  eos_token_id: 2,
};

const bert = { ...llama, model_type: "bert" };

const never = (): Promise<never> => Promise.reject(new Error("opened"));

/** A folder with these files, read. */
async function read(files: Record<string, unknown>, open = never): Promise<ModelConfig> {
  let resolved: ModelConfig | undefined;
  await withFolder(async (folder) => {
    for (const [name, content] of Object.entries(files)) {
      await writeFile(join(folder, name), typeof content === "string" ? content : JSON.stringify(content));
    }
    resolved = await readModelConfig(folder, [], open);
  });
  return resolved as ModelConfig;
}

describe("models/config", () => {
  it("lists what can be loaded", () => {
    expect(supportedModelTypes).to.deep.equal([
      ...["t5", "llama", "mistral", "qwen2", "qwen3"],
      ...["bert", "roberta", "xlm-roberta", "camembert", "distilbert"],
    ]);
  });

  it("finds the family by the model type", () => {
    expect(resolveModelConfig(t5, file)).to.include({ family: "t5", modelType: "t5", nominalTokens: null });
    expect(resolveModelConfig(llama, file)).to.include({
      family: "decoder",
      modelType: "llama",
      maxTokens: null,
    });
    expect(resolveModelConfig(bert, file)).to.include({
      family: "encoder",
      modelType: "bert",
      maxTokens: 512,
    });
  });

  it("refuses other model types by name", async () => {
    for (const model_type of ["mixtral", "umt5", "gpt2", "constructor"]) {
      const error = await failure(() => resolveModelConfig({ ...llama, model_type }, file));
      expect(error).to.include({ code: "CONFIG_UNSUPPORTED" });
      expect(error.message).to.contain(
        `${file}: "model_type" is "${model_type}"; expected one of t5, llama, mistral`,
      );
    }
    const missing = await failure(() => resolveModelConfig({}, file));
    expect(missing).to.include({ code: "CONFIG_INVALID" });
    expect(missing.message).to.contain('"model_type" is missing');
  });

  it("refuses content that is no object", async () => {
    for (const content of [null, [], "llama", 5]) {
      const error = await failure(() => resolveModelConfig(content, file));
      expect(error).to.include({ code: "CONFIG_INVALID" });
      expect(error.message).to.contain(`${file}: the content is`).and.contain("expected an object");
    }
  });

  it("reads a folder, and opens the weights only where they decide", async () => {
    for (const config of [t5, llama, bert]) await read({ "config.json": config });
    await withFolder(async (folder) => {
      const weights = join(folder, "model.safetensors");
      await writeFile(join(folder, "config.json"), JSON.stringify({ ...t5, scale_decoder_outputs: false }));
      const opened: { disposed: boolean }[] = [];
      for (const [head, tieWordEmbeddings] of [
        [[1, 2, 3], true],
        [[1, 2, 4], false],
      ] as const) {
        await writeTensors(weights, { "shared.weight": [1, 2, 3], "lm_head.weight": [...head] });
        const { config } = await readModelConfig(folder, [weights], plainOpen(opened));
        expect(config).to.include({ tieWordEmbeddings, scaleDecoderOutputs: false });
      }
      expect(opened.map(({ disposed }) => disposed)).to.deep.equal([true, true]);
    });
  });

  it("takes the end tokens of generation_config.json where it names some", async () => {
    const ends = async (generation: unknown, config: object = llama): Promise<number[]> =>
      (await read({ "config.json": config, "generation_config.json": generation })).endTokenIds;
    expect((await read({ "config.json": llama })).endTokenIds).to.deep.equal([2]);
    expect(await ends({ eos_token_id: [7, 8], temperature: 0.6 })).to.deep.equal([7, 8]);
    expect(await ends({ eos_token_id: 7 })).to.deep.equal([7]);
    expect(await ends({ eos_token_id: 7 }, { ...llama, eos_token_id: null })).to.deep.equal([7]);
    for (const none of [{}, { eos_token_id: null }, { eos_token_id: [] }]) {
      expect(await ends(none), JSON.stringify(none)).to.deep.equal([2]);
    }
    expect(await ends({ eos_token_id: [1, 5] }, t5)).to.deep.equal([1, 5]);
    expect(await ends({ eos_token_id: 7 }, bert)).to.deep.equal([]);
  });

  it("refuses a generation_config.json that it cannot believe", async () => {
    for (const [content, part] of [
      ["{", "is not JSON"],
      ["[]", "expected an object"],
      [{ eos_token_id: "2" }, '"eos_token_id" is "2"; expected a token id or a list of them'],
      [{ eos_token_id: [2, -1] }, '"eos_token_id.1" is -1; expected a token id'],
      [{ eos_token_id: [2, 64] }, 'less than "vocab_size", 64'],
    ] as const) {
      const error = await failure(read({ "config.json": llama, "generation_config.json": content }));
      expect(error, error.message).to.include({ code: "CONFIG_INVALID" });
      expect(error.message).to.contain("generation_config.json: ").and.contain(part);
    }
    await withFolder(async (folder) => {
      await writeFile(join(folder, "config.json"), JSON.stringify(llama));
      await symlink(folder, join(folder, "generation_config.json"));
      const error = await failure(readModelConfig(folder, [], never));
      expect(error).to.include({ code: "CONFIG_INVALID" });
      expect(error.message).to.contain("not a regular file");
    });
  });

  it("refuses a folder without config.json, and one that is not JSON", async () => {
    const missing = await failure(read({}));
    expect(missing).to.include({ code: "CONFIG_INVALID" });
    expect(missing.message).to.contain("config.json: ").and.contain("ENOENT");
    const broken = await failure(read({ "config.json": '{"model_type": "llama",}' }));
    expect(broken).to.include({ code: "CONFIG_INVALID" });
    expect(broken.message).to.contain("is not JSON");
  });
});
