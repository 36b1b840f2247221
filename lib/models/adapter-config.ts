import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { RkifError } from "../errors.js";
import type { LoraConfig } from "../native/contract.js";
import { checkFields, readJsonFile, shown } from "./json-file.js";

const fileName = "adapter_config.json";

/** What is written, besides the adapter's own settings: the defaults of PEFT 0.21's LoraConfig. Keys in PEFT's (sorted) order. */
const written = {
  alora_invocation_tokens: null,
  alpha_pattern: {},
  arrow_config: null,
  auto_mapping: null,
  base_model_name_or_path: null as string | null,
  bias: "none",
  corda_config: null,
  ensure_weight_tying: false,
  eva_config: null,
  exclude_modules: null,
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  kasa_config: null,
  layer_replication: null,
  layers_pattern: null,
  layers_to_transform: null,
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
  rank_pattern: {},
  revision: null,
  target_modules: [] as string[],
  target_parameters: null,
  task_type: "SEQ_2_SEQ_LM",
  trainable_token_indices: null,
  use_bdlora: null,
  use_dora: false,
  use_qalora: false,
  use_rslora: false,
  velora_config: null,
};

/** Keys that are read below, or that say nothing about what a saved adapter computes or how it trains. */
const harmless: ReadonlySet<string> = new Set([
  "auto_mapping",
  "base_model_name_or_path",
  "bias",
  "corda_config",
  "eva_config",
  "inference_mode",
  "init_lora_weights",
  "layers_pattern", // only with layers_to_transform
  "loftq_config",
  "lora_alpha",
  "lora_dropout",
  "lora_ga_config",
  "megatron_core", // only with megatron_config
  "peft_type",
  "peft_version",
  "qalora_group_size", // only with use_qalora
  "r",
  "revision",
  "runtime_config",
  "target_modules",
  "task_type",
  "use_rslora",
]);

/** Initialisations that leave the base weights alone; the others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) change them as well. */
const plainInitialisations: readonly unknown[] = [undefined, null, true, false, "gaussian", "orthogonal", "eva"];

const schema = z.looseObject(
  {
    r: z.int("a positive integer").min(1, "a positive integer"),
    lora_alpha: z.number("a number"),
    lora_dropout: z.number("a rate from 0 to less than 1").min(0, "at least 0").lt(1, "less than 1").default(0),
    use_rslora: z.boolean("true or false").default(false),
    target_modules: z.array(z.string("a module's name"), "a list of modules' names").min(1, "at least one module"),
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
  return {
    lora: {
      r: fields.r,
      alpha: fields.lora_alpha,
      dropout: fields.lora_dropout,
      rsLora: fields.use_rslora,
      targetModules: fields.target_modules,
    },
    baseModel: fields.base_model_name_or_path ?? null,
  };
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
 */
export async function writeAdapterConfig(
  folder: string,
  { r, alpha, dropout, rsLora, targetModules, baseModel }: LoraConfig & { baseModel: string | null },
): Promise<void> {
  const config = {
    ...written,
    base_model_name_or_path: baseModel,
    lora_alpha: alpha,
    lora_dropout: dropout,
    r,
    target_modules: targetModules,
    use_rslora: rsLora,
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
  if (![undefined, null, "SEQ_2_SEQ_LM"].includes(config.task_type as string)) {
    refuse("task_type", 'only "SEQ_2_SEQ_LM" is supported');
  }
  if (![undefined, null, "none"].includes(config.bias as string)) refuse("bias", 'only "none" is supported');
  if (typeof config.target_modules === "string") {
    refuse("target_modules", "patterns are not supported; expected a list of modules' names");
  }
  if (!plainInitialisations.includes(config.init_lora_weights)) {
    refuse(
      "init_lora_weights",
      "it changes the base weights as well. Convert the adapter to plain LoRA with PEFT's " +
        "save_pretrained(..., path_initial_model_for_weight_conversion=...)",
    );
  }
  for (const [field, value] of Object.entries(config)) {
    if (!harmless.has(field) && !isOff(value)) refuse(field, "it would change the result and is not supported");
  }
}

/** How PEFT writes an option that is not used. */
function isOff(value: unknown): boolean {
  if (value === null || value === false) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}
