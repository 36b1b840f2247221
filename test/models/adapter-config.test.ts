import { expect } from "chai";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  parseAdapterConfig,
  readAdapterConfig,
  writeAdapterConfig,
} from "../../lib/models/adapter-config.js";
import type { LoraConfig } from "../../lib/models/lora.js";
import { failure, withFolder } from "./tiny-safetensors.js";

/** adapter_config.json as PEFT 0.21.0 saved it for LoraConfig(r=8, lora_alpha=32, target_modules=["q", "v"]) on a T5. */
const recorded = `{
  "alora_invocation_tokens": null,
  "alpha_pattern": {},
  "arrow_config": null,
  "auto_mapping": null,
  "base_model_name_or_path": "models/t5",
  "bias": "none",
  "corda_config": null,
  "ensure_weight_tying": false,
  "eva_config": null,
  "exclude_modules": null,
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": true,
  "kasa_config": null,
  "layer_replication": null,
  "layers_pattern": null,
  "layers_to_transform": null,
  "loftq_config": {},
  "lora_alpha": 32,
  "lora_bias": false,
  "lora_dropout": 0.0,
  "lora_ga_config": null,
  "megatron_config": null,
  "megatron_core": "megatron.core",
  "modules_to_save": null,
  "monteclora_config": null,
  "peft_type": "LORA",
  "peft_version": "0.21.0",
  "qalora_group_size": 16,
  "r": 8,
  "rank_pattern": {},
  "revision": null,
  "target_modules": [
    "q",
    "v"
  ],
  "target_parameters": null,
  "task_type": "SEQ_2_SEQ_LM",
  "trainable_token_indices": null,
  "use_bdlora": null,
  "use_dora": false,
  "use_qalora": false,
  "use_rslora": false,
  "velora_config": null
}`;

const lora: LoraConfig = {
  r: 8,
  alpha: 32,
  dropout: 0,
  rsLora: false,
  targetModules: ["q", "v"],
  rankPattern: {},
  alphaPattern: {},
};
const file = "adapters/01-cb/adapter_config.json";

function parsed(fields: object = {}): ReturnType<typeof parseAdapterConfig> {
  return parseAdapterConfig({ ...(JSON.parse(recorded) as object), ...fields }, file);
}

describe("models/adapter-config", () => {
  it("reads what PEFT saved", () => {
    expect(parsed()).to.deep.equal({ lora, baseModel: "models/t5" });
    expect(parsed({ use_rslora: true, lora_dropout: 0.05, lora_alpha: 12.5 }).lora).to.deep.equal({
      ...lora,
      rsLora: true,
      dropout: 0.05,
      alpha: 12.5,
    });
  });

  it("reads adapters of older and newer PEFT, as long as what is unknown is off", () => {
    const old = {
      peft_type: "LORA",
      r: 4,
      lora_alpha: 8,
      target_modules: ["q"],
      task_type: null,
      fan_in_fan_out: false,
    };
    expect(parseAdapterConfig(old, file)).to.deep.equal({
      lora: { ...lora, r: 4, alpha: 8, targetModules: ["q"] },
      baseModel: null,
    });
    expect(parsed({ of_next_year: false, another: null, list: [], table: {} }).lora).to.deep.equal(lora);
    for (const init of [false, "gaussian", "orthogonal", "eva"]) {
      expect(parsed({ init_lora_weights: init, eva_config: { rho: 2 } }).lora).to.deep.equal(lora);
    }
  });

  it("reads which modules are adapted, and how", async () => {
    const patterns = { rank_pattern: { "layer.0.*q": 4 }, alpha_pattern: { v: 0.5 } };
    expect(parsed(patterns).lora).to.deep.equal({
      ...lora,
      rankPattern: { "layer.0.*q": 4 },
      alphaPattern: { v: 0.5 },
    });
    expect(parsed({ rank_pattern: null, alpha_pattern: null }).lora).to.deep.equal(lora);
    expect(parsed({ target_modules: ".*\\.(q|v)" }).lora).to.deep.equal({
      ...lora,
      targetModules: ".*\\.(q|v)",
    });
    for (const excludeModules of [["decoder.block.0.layer.0.SelfAttention.q"], "decoder.*"]) {
      expect(parsed({ exclude_modules: excludeModules }).lora).to.deep.equal({ ...lora, excludeModules });
    }
    for (const off of [null, [], ""]) expect(parsed({ exclude_modules: off }).lora).to.deep.equal(lora);
    const layers = { layers_to_transform: 3, layers_pattern: "block" };
    expect(parsed(layers).lora).to.deep.equal({ ...lora, layersToTransform: [3], layersPattern: ["block"] });
    expect(parsed({ layers_to_transform: [0, 1] }).lora).to.deep.equal({
      ...lora,
      layersToTransform: [0, 1],
    });
    expect(parsed({ layers_to_transform: [], layers_pattern: "block" }).lora).to.deep.equal(lora);
    const { message } = await failure(() => parsed({ ...layers, target_modules: ".*q" }));
    expect(message).to.contain('"target_modules" is the pattern ".*q"');
  });

  it("takes the task types of the families, and none", () => {
    for (const type of ["SEQ_2_SEQ_LM", "CAUSAL_LM", "FEATURE_EXTRACTION", null]) {
      expect(parsed({ task_type: type }).lora).to.deep.equal(lora);
    }
  });

  it("writes byte for byte what PEFT writes", async () => {
    await withFolder(async (folder) => {
      await writeAdapterConfig(folder, lora, { family: "t5", baseModel: "models/t5" });
      expect(await readFile(join(folder, "adapter_config.json"), "utf8")).to.equal(recorded);
      expect(await readdir(folder)).to.deep.equal(["adapter_config.json"]);
    });
  });

  it("reads back what it wrote, over an older file", async () => {
    await withFolder(async (folder) => {
      await writeFile(join(folder, "adapter_config.json"), "{}");
      for (const config of [
        { ...lora, r: 4, alpha: 7.5, dropout: 0.05, rsLora: true, targetModules: ["SelfAttention.q", "wo"] },
        {
          ...lora,
          // Their order decides, so it is kept where PEFT would sort.
          rankPattern: { q: 4, ".*": 2, "decoder.*": 1 },
          alphaPattern: { v: 2.5 },
          excludeModules: "decoder.*",
          layersToTransform: [0, 2],
          layersPattern: ["block"],
        },
        { ...lora, targetModules: ".*q", dropout: 0.1, excludeModules: ["wo"] },
      ]) {
        await writeAdapterConfig(folder, config, { family: "t5", baseModel: null });
        const back = await readAdapterConfig(folder);
        expect(back).to.deep.equal(config);
        expect(Object.keys(back.rankPattern)).to.deep.equal(Object.keys(config.rankPattern));
      }
    });
  });

  it("writes the family's task type, by which Python chooses a class", async () => {
    await withFolder(async (folder) => {
      for (const [family, type] of [
        ["t5", "SEQ_2_SEQ_LM"],
        ["decoder", "CAUSAL_LM"],
        ["encoder", "FEATURE_EXTRACTION"],
      ] as const) {
        await writeAdapterConfig(folder, lora, { family, baseModel: null });
        const text = await readFile(join(folder, "adapter_config.json"), "utf8");
        expect(JSON.parse(text)).to.include({ task_type: type });
      }
    });
  });

  const unsupported: [field: string, value: unknown][] = [
    ["peft_type", "ADALORA"],
    ["task_type", "SEQ_CLS"],
    ["task_type", "causal_lm"],
    ["bias", "lora_only"],
    ["use_dora", true],
    ["use_qalora", true],
    ["use_bdlora", { target_modules_bd_a: [] }],
    ["lora_bias", true],
    ["fan_in_fan_out", true],
    ["ensure_weight_tying", true],
    ["modules_to_save", ["lm_head"]],
    ["layer_replication", [[0, 2]]],
    ["target_parameters", ["w"]],
    ["trainable_token_indices", [1]],
    ["alora_invocation_tokens", [1, 2]],
    ["velora_config", { num_groups: 4 }],
    ["kasa_config", { beta: 1 }],
    ["megatron_config", { a: 1 }],
    ["init_lora_weights", "pissa_niter_16"],
    ["init_lora_weights", "olora"],
    ["of_next_year", "on"],
  ];
  for (const [field, value] of unsupported) {
    it(`refuses ${field} = ${JSON.stringify(value)}`, async () => {
      const error = await failure(() => parsed({ [field]: value }));
      expect(error).to.include({ code: "CONFIG_UNSUPPORTED" });
      expect(error.message).to.contain(`${file}: "${field}" is `);
    });
  }

  const invalid: [field: string, value: unknown][] = [
    ["peft_type", undefined],
    ["r", undefined],
    ["r", 0],
    ["r", 2.5],
    ["lora_alpha", "32"],
    ["lora_dropout", 1],
    ["use_rslora", 1],
    ["target_modules", null],
    ["target_modules", []],
    ["target_modules", ""],
    ["target_modules", ["q", 5]],
    ["rank_pattern", { q: 0 }],
    ["rank_pattern", ["q"]],
    ["alpha_pattern", { q: "4" }],
    ["exclude_modules", [5]],
    ["layers_to_transform", [-1]],
    ["layers_to_transform", "0"],
    ["layers_pattern", 5],
    ["base_model_name_or_path", 5],
  ];
  for (const [field, value] of invalid) {
    it(`refuses ${field} = ${JSON.stringify(value)} as invalid`, async () => {
      const error = await failure(() => parsed({ [field]: value }));
      expect(error).to.include({ code: "CONFIG_INVALID" });
      // Of a table, the entry is named.
      expect(error.message).to.match(new RegExp(`^${file}: "${field}(\\.\\w+)?" is `));
    });
  }

  it("says what to do about whole modules beside the adapter", async () => {
    const { message } = await failure(() => parsed({ modules_to_save: ["classifier"] }));
    expect(message).to.contain('"modules_to_save" is ["classifier"]').and.contain("merge_and_unload");
  });
});
