import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { RkifError } from "../errors.js";
import type { ModelFamily } from "../native/contract.js";
import { checkFields, readJsonFile, shown } from "./json-file.js";
import type { LoraConfig } from "./lora.js";

const fileName = "adapter_config.json";

/** PEFT's task types, which choose the class that Python wraps a model in. */
const taskTypes: Record<ModelFamily["family"], string> = {
  t5: "SEQ_2_SEQ_LM",
  decoder: "CAUSAL_LM",
  encoder: "FEATURE_EXTRACTION",
};

/** What is written, besides the adapter's own settings: the defaults of PEFT 0.21's LoraConfig. Keys in PEFT's (sorted) order. */
const written = {
  alora_invocation_tokens: null,
  alpha_pattern: {} as Record<string, number>,
  arrow_config: null,
  auto_mapping: null,
  base_model_name_or_path: null as string | null,
  bias: "none",
  corda_config: null,
  ensure_weight_tying: false,
  eva_config: null,
  exclude_modules: null as string[] | string | null,
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  kasa_config: null,
  layer_replication: null,
  layers_pattern: null as string[] | null,
  layers_to_transform: null as number[] | null,
  loftq_config: {},
  lora_alpha: 0,
  lora_bias: false,
  lora_dropout: 0,
  lora_ga_config: null,
  megatron_config: null,
  megatron_core: "megatron.core",
  modules_to_save: null,
  monteclora_config: null,
  peft_type: "LORA",
  peft_version: "0.21.0",
  qalora_group_size: 16,
  r: 0,
  rank_pattern: {} as Record<string, number>,
  revision: null,
  target_modules: [] as string[] | string,
  target_parameters: null,
  task_type: "",
  trainable_token_indices: null,
  use_bdlora: null,
  use_dora: false,
  use_qalora: false,
  use_rslora: false,
  velora_config: null,
};

/** Keys that are read below, or that say nothing about what a saved adapter computes or how it trains. */
const harmless: ReadonlySet<string> = new Set([
  "alpha_pattern",
  "auto_mapping",
  "base_model_name_or_path",
  "bias",
  "corda_config",
  "eva_config",
  "exclude_modules",
  "inference_mode",
  "init_lora_weights",
  "layers_pattern",
  "layers_to_transform",
  "loftq_config",
  "lora_alpha",
  "lora_dropout",
  "lora_ga_config",
  "megatron_core", // only with megatron_config
  "peft_type",
  "peft_version",
  "qalora_group_size", // only with use_qalora
  "r",
  "rank_pattern",
  "revision",
  "runtime_config",
  "target_modules",
  "task_type",
  "use_rslora",
]);

/** Initialisations that leave the base weights alone; the others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) change them as well. */
const plainInitialisations: readonly unknown[] = [
  undefined,
  null,
  true,
  false,
  "gaussian",
  "orthogonal",
  "eva",
];

const rank = z.int("a positive integer").min(1, "a positive integer");
const alpha = z.number("a number").min(-1e6, "at least -1e6").max(1e6, "at most 1e6");
const layer = z.int("the number of a layer").min(0, "the number of a layer");
const schema = z.looseObject(
  {
    r: rank,
    lora_alpha: alpha,
    lora_dropout: z
      .number("a rate from 0 to less than 1")
      .min(0, "at least 0")
      .lt(1, "less than 1")
      .default(0),
    use_rslora: z.boolean("true or false").default(false),
    target_modules: z.union(
      [z.string().min(1), z.array(z.string()).min(1)],
      "a list of modules' names, or a pattern of their paths",
    ),
    exclude_modules: z
      .union([z.string(), z.array(z.string())], "a list of modules' names, or a pattern of their paths")
      .nullish(),
    rank_pattern: z.record(z.string(), rank, "an object of patterns and ranks").nullish(),
    alpha_pattern: z.record(z.string(), alpha, "an object of patterns and alphas").nullish(),
    layers_to_transform: z
      .union([layer, z.array(layer)], "the number of a layer, or a list of them")
      .nullish(),
    layers_pattern: z.union([z.string(), z.array(z.string())], "a pattern, or a list of them").nullish(),
    base_model_name_or_path: z.string("a model's name or folder").nullish(),
  },
  "an object",
);

export interface AdapterConfig {
  lora: LoraConfig;
  /** The base model the adapter was trained on, where the file says so. */
  baseModel: string | null;
}

/**
 * The parsed content of PEFT's adapter_config.json.
 * @param file - its path, for messages
 * @throws {RkifError} CONFIG_INVALID naming file and field; CONFIG_UNSUPPORTED for an option that would change the result and that
 * this package does not have, also where a later PEFT has added it.
 */
export function parseAdapterConfig(config: unknown, file: string): AdapterConfig {
  checkSupported(checkFields(z.looseObject({}, "an object"), config, file, "CONFIG_INVALID"), file);
  const fields = checkFields(schema, config, file, "CONFIG_INVALID");
  const layers = listOf(fields.layers_to_transform);
  const layersPattern = listOf(fields.layers_pattern).filter((pattern) => pattern !== "");
  if (typeof fields.target_modules === "string" && layers.length > 0) {
    throw new RkifError(
      "CONFIG_INVALID",
      `${file}: "layers_to_transform" restricts a list of modules; "target_modules" is the pattern ${shown(fields.target_modules)}`,
    );
  }
  return {
    lora: {
      r: fields.r,
      alpha: fields.lora_alpha,
      dropout: fields.lora_dropout,
      rsLora: fields.use_rslora,
      targetModules: fields.target_modules,
      rankPattern: fields.rank_pattern ?? {},
      alphaPattern: fields.alpha_pattern ?? {},
      ...(fields.exclude_modules?.length ? { excludeModules: fields.exclude_modules } : {}),
      ...(layers.length > 0 ? { layersToTransform: layers } : {}),
      ...(layers.length > 0 && layersPattern.length > 0 ? { layersPattern } : {}),
    },
    baseModel: fields.base_model_name_or_path ?? null,
  };
}

function listOf<T>(value: T | T[] | null | undefined): T[] {
  if (value === null || value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

/**
 * Reads adapter_config.json of an adapter folder.
 * @throws {RkifError} as {@link parseAdapterConfig}.
 */
export async function readAdapterConfig(folder: string): Promise<LoraConfig> {
  const file = join(folder, fileName);
  return parseAdapterConfig(await readJsonFile(file, "CONFIG_INVALID"), file).lora;
}

/**
 * Writes adapter_config.json as PEFT 0.21 writes it, with its default for every option that is not given. Same input, same bytes.
 * @param folder - exists
 * @param lora - its patterns keep their order: the first that matches counts
 */
export async function writeAdapterConfig(
  folder: string,
  lora: LoraConfig,
  { family, baseModel }: { family: ModelFamily["family"]; baseModel: string | null },
): Promise<void> {
  const config: typeof written = {
    ...written,
    alpha_pattern: lora.alphaPattern,
    base_model_name_or_path: baseModel,
    exclude_modules: lora.excludeModules ?? null,
    layers_pattern: lora.layersPattern ?? null,
    layers_to_transform: lora.layersToTransform ?? null,
    lora_alpha: lora.alpha,
    lora_dropout: lora.dropout,
    r: lora.r,
    rank_pattern: lora.rankPattern,
    target_modules: lora.targetModules,
    task_type: taskTypes[family],
    use_rslora: lora.rsLora,
  };
  // The rate is a float in Python, which is written with a fraction.
  const text = JSON.stringify(config, undefined, 2).replace(/^( {2}"lora_dropout": \d+),$/m, "$1.0,");
  const target = join(folder, fileName);
  const temporary = `${target}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, text, { flush: true });
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function checkSupported(config: Record<string, unknown>, file: string): void {
  const refuse = (field: string, expected: string): never => {
    throw new RkifError("CONFIG_UNSUPPORTED", `${file}: "${field}" is ${shown(config[field])}; ${expected}`);
  };
  if (config.peft_type === undefined) {
    throw new RkifError("CONFIG_INVALID", `${file}: "peft_type" is missing; expected "LORA"`);
  }
  if (config.peft_type !== "LORA") refuse("peft_type", 'only "LORA" is supported');
  if (![undefined, null, ...Object.values(taskTypes)].includes(config.task_type as string)) {
    const known = Object.values(taskTypes).map((type) => `"${type}"`);
    refuse(
      "task_type",
      `expected ${known.join(", ")} or null: adapters with a head of their own are not supported`,
    );
  }
  if (![undefined, null, "none"].includes(config.bias as string)) refuse("bias", 'only "none" is supported');
  if (!isOff(config.modules_to_save ?? null)) {
    refuse(
      "modules_to_save",
      "whole modules beside the adapter are not supported. Merge it in Python (PeftModel.merge_and_unload, save_pretrained) and " +
        "give the merged checkpoint as the model, or train an adapter without it",
    );
  }
  if (!plainInitialisations.includes(config.init_lora_weights)) {
    refuse(
      "init_lora_weights",
      "it changes the base weights as well. Convert the adapter to plain LoRA with PEFT's " +
        "save_pretrained(..., path_initial_model_for_weight_conversion=...)",
    );
  }
  for (const [field, value] of Object.entries(config)) {
    if (!harmless.has(field) && !isOff(value))
      refuse(field, "it would change the result and is not supported");
  }
}

/** How PEFT writes an option that is not used. */
function isOff(value: unknown): boolean {
  if (value === null || value === false) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}
