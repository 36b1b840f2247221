import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RkifError } from "../errors.js";
import type { AdaptedModule, BaseType, Model, ModelOptions, TensorToWrite } from "../native/contract.js";
import type { DeviceOption } from "../native/cuda.js";
import { loadAddon } from "../native/load.js";
import { adapterFile, loadAdapter, readAdapter } from "./adapter.js";
import { writeAdapterConfig } from "./adapter-config.js";
import { readCheckpoint } from "./checkpoint-files.js";
import { copyCompanions } from "./companions.js";
import { type ModelConfig, readModelConfig } from "./config/index.js";
import { exists } from "./exists.js";
import { joinedConfig, joinedTensors } from "./joined-adapter.js";
import { idlePatterns, isAllLinear, lastComponents, type LoraConfig, resolveAdaptedModules } from "./lora.js";
import { readJsonFile } from "./json-file.js";
import { openDevice } from "./device.js";
import { checkMemory, prepackFits, usualRoom } from "./memory.js";
import { setThreadsFor } from "./threads.js";
import type { TokenCache } from "./token-cache.js";
import { Tokenizer } from "./tokenizer.js";

/** Folder of the small T5 that comes with the package. */
export const embeddedModel: string = fileURLToPath(new URL("../../models/embedded", import.meta.url));

/** What trains: every weight, or an adapter. */
export type Trainable = { kind: "full" } | ({ kind: "lora" } & LoraConfig);

export interface LoadModelOptions {
  /** Folder of a Hugging Face checkpoint, or "embedded". */
  model: string;
  /** Type of the frozen base weights in memory. Default "float32". */
  baseType?: BaseType;
  copyWeights?: boolean;
  /** As {@link ModelOptions.prepack}. Default: where the weights are many enough to gain by it and few enough to fit. */
  prepack?: boolean;
  /** As {@link ModelOptions.gradientCheckpointing}. Default false. */
  gradientCheckpointing?: boolean;
  /** Bytes that the weights may take in memory; absent: no limit. */
  memory?: number;
  /**
   * Where the model computes: "cuda" is the first GPU that the kernels run on, "auto" that where everything for it is there, else the CPU
   * ({@link TrainedModel.warnings} says which, and why). Default "cpu".
   */
  device?: DeviceOption;
  /**
   * Bytes of the GPU's memory that this process may take for all its models; absent: as before, in the beginning all of it. CUDA itself takes
   * some hundred MB beside it.
   */
  deviceMemoryLimit?: number;
  /** Threads of one operation, for the whole process; null or absent: one for a small model, libtorch's choice for others. */
  threads?: number | null;
  /** "none": the model as it is. Target modules null: queries and values, as PEFT chooses where nothing is said. */
  trainable:
    | { kind: "full" }
    | { kind: "none" }
    | ({ kind: "lora" } & Omit<LoraConfig, "targetModules"> & { targetModules: string[] | string | null });
  /** An adapter's folder, written here or by PEFT: its shape is taken in place of `trainable`'s (but for the dropout), and its weights. */
  adapter?: string;
  /** Dropout rate of the base model in training; absent: its config's. */
  baseDropout?: number;
  /** Where tokens of many texts are kept; absent: nowhere. */
  tokenCache?: TokenCache | undefined;
}

/** A checkpoint with its tokenizer, ready to train. */
export interface TrainedModel {
  readonly model: Model;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  /** The checkpoint's folder. */
  readonly folder: string;
  /** As asked for, the target modules by name. Without an adapter: one of no modules. */
  readonly trainable: Trainable;
  /** Generation ends with any of them: the checkpoint's, or the tokenizer's end token where it names none. */
  readonly endTokenIds: readonly number[];
  /** Stands behind outputs in training: the tokenizer's end token (T5: the checkpoint's). Null for encoders and where none is known. */
  readonly endTokenId: number | null;
  /** What was odd about the checkpoint and did no harm, such as tensors that its index does not list. */
  readonly warnings: readonly string[];
}

/** Folder behind a model's name. */
export function modelFolder(model: string): string {
  return model === "embedded" ? embeddedModel : model;
}

/**
 * Loads config.json, the weights and tokenizer.json of a checkpoint folder, with a new adapter (B is zero until it is initialised) or
 * that of a folder.
 * @throws {RkifError} CONFIG_INVALID, CONFIG_UNSUPPORTED, CHECKPOINT_INVALID or CHECKPOINT_MISMATCH, naming file and field or tensor;
 * INVALID_ARGUMENT where a target module or pattern does not fit the model.
 */
export async function loadModel(options: LoadModelOptions): Promise<TrainedModel> {
  // Before the addon is used for anything: with a GPU it may be another libtorch that has to be loaded.
  const { deviceMemoryLimit } = options;
  const { device, reason } = await openDevice(options.device ?? "cpu", { deviceMemoryLimit });
  const folder = modelFolder(options.model);
  const { files, skip, warnings } = await readCheckpoint(folder);
  if (reason !== undefined) warnings.push(reason);
  if (device === "cpu" && deviceMemoryLimit !== undefined) {
    warnings.push("deviceMemoryLimit has no effect: the model computes on the CPU");
  }
  const config = await readModelConfig(folder, files);
  const tokenizer = await Tokenizer.open(folder, { cache: options.tokenCache });
  const { vocabSize } = config.config;
  if (tokenizer.baseSize > vocabSize) {
    throw new RkifError(
      "CHECKPOINT_MISMATCH",
      `${tokenizer.file} has ${tokenizer.baseSize} entries, but the model's vocabulary is ${vocabSize}; expected a tokenizer of this checkpoint`,
    );
  }
  // Fine-tunes often add a padding token that no text has. Where a text has such a token, it is refused then.
  if (tokenizer.size > vocabSize) {
    const beyond = tokenizer.size - vocabSize;
    warnings.push(
      `${tokenizer.file} has ${beyond} added ${beyond === 1 ? "token" : "tokens"} beyond the model's vocabulary of ${vocabSize}: texts that hold one are refused`,
    );
  }
  if (config.family === "encoder") warnings.push(...(await poolingWarnings(folder)));
  const baseType = options.baseType ?? "float32";
  const full = options.trainable.kind === "full";
  if (options.memory !== undefined) checkMemory(config, { folder, baseType, limit: options.memory, full });
  const { trainable, modules, warnings: ofAdapter } = await resolveTrainable(options, config);
  await setThreadsFor(config, options.threads ?? null);
  const model = await loadAddon().loadModel({
    ...config,
    files,
    skip,
    baseType,
    device,
    copyWeights: options.copyWeights ?? false,
    gradientCheckpointing: options.gradientCheckpointing ?? false,
    prepack: options.prepack ?? prepackFits(config, { baseType, room: options.memory ?? usualRoom(), full }),
    trainable: modules,
    ...(options.baseDropout === undefined ? {} : { baseDropout: options.baseDropout }),
  });
  try {
    if (options.adapter !== undefined) await loadAdapter({ model, trainable }, options.adapter);
  } catch (error) {
    model.dispose();
    throw error;
  }
  return {
    model,
    config,
    tokenizer,
    folder,
    trainable,
    ...endTokens(config, tokenizer),
    warnings: [...warnings, ...ofAdapter],
  };
}

/** What trains, in the terms of PEFT and in the addon's. */
interface ResolvedTrainable {
  trainable: Trainable;
  modules: ModelOptions["trainable"];
  /** What has no effect. */
  warnings: string[];
}

async function resolveTrainable(
  { trainable: wanted, adapter: folder }: LoadModelOptions,
  config: ModelConfig,
): Promise<ResolvedTrainable> {
  if (wanted.kind === "full") {
    if (folder === undefined) return { trainable: wanted, modules: wanted, warnings: [] };
    throw new RkifError(
      "INVALID_ARGUMENT",
      `${folder}: an adapter cannot be loaded into a model whose every weight trains; merge it into the checkpoint first`,
    );
  }
  const linear = loadAddon().linearModules(config);
  if (folder !== undefined) {
    const { lora, modules, unused } = await readAdapter(folder, linear);
    const dropout = wanted.kind === "lora" ? wanted.dropout : lora.dropout;
    return {
      trainable: { kind: "lora", ...lora, dropout },
      modules: { kind: "lora", dropout, modules },
      warnings: [
        ...unused.map(
          ({ module }) => `the adapter of ${module} plays no part in what is computed here and is left out`,
        ),
        ...idleWarnings(lora, modules),
      ],
    };
  }
  if (wanted.kind === "none") {
    const nothing = {
      r: 1,
      alpha: 1,
      dropout: 0,
      rsLora: false,
      targetModules: [],
      rankPattern: {},
      alphaPattern: {},
    };
    return {
      trainable: { kind: "lora", ...nothing },
      modules: { kind: "lora", dropout: 0, modules: [] },
      warnings: [],
    };
  }
  const targets = wanted.targetModules ?? defaultTargets(config);
  // In Python "all-linear" would mean the layers of whatever class the model is loaded as.
  const targetModules = isAllLinear(targets) ? lastComponents(linear) : targets;
  const trainable = { ...wanted, targetModules };
  const modules = resolveAdaptedModules(trainable, linear);
  return {
    trainable,
    modules: { kind: "lora", dropout: wanted.dropout, modules },
    warnings: idleWarnings(trainable, modules),
  };
}

/** Encoders made for another vector than the mean of their states, as sentence-transformers describes them beside the weights. */
async function poolingWarnings(folder: string): Promise<string[]> {
  const file = join(folder, "1_Pooling", "config.json");
  if (!(await exists(file))) return [];
  const pooling = (await readJsonFile(file, "CONFIG_INVALID")) as Record<string, unknown> | null;
  if (pooling?.["pooling_mode_mean_tokens"] !== false) return [];
  return [`${file} asks for another pooling than the mean over tokens, which is what is computed here`];
}

function idleWarnings(lora: LoraConfig, modules: readonly AdaptedModule[]): string[] {
  return idlePatterns(lora, modules).map(
    (key) => `the adapter's pattern ${JSON.stringify(key)} matches none of its modules and has no effect`,
  );
}

/** The targets of PEFT's own table for these models: queries and values. */
function defaultTargets(model: ModelConfig): string[] {
  if (model.family === "t5") return ["q", "v"];
  if (model.family === "decoder") return ["q_proj", "v_proj"];
  return model.config.naming === "distilbert" ? ["q_lin", "v_lin"] : ["query", "value"];
}

function endTokens(
  config: ModelConfig,
  tokenizer: Tokenizer,
): Pick<TrainedModel, "endTokenIds" | "endTokenId"> {
  if (config.family === "encoder") return { endTokenIds: [], endTokenId: null };
  const { eos } = tokenizer.special;
  const ofTokenizer = eos === undefined ? undefined : tokenizer.idOf(eos);
  const [ofCheckpoint] = config.endTokenIds;
  const preferred = config.family === "t5" ? (ofCheckpoint ?? ofTokenizer) : (ofTokenizer ?? ofCheckpoint);
  // Whatever training puts behind an answer must end it in generation.
  const ends = preferred === undefined ? [] : [preferred];
  return {
    endTokenIds: [...new Set([...config.endTokenIds, ...ends])],
    endTokenId: preferred ?? null,
  };
}

/**
 * Writes what was trained: an adapter folder as PEFT saves it, or, where every weight trained, a whole checkpoint folder.
 * Weights of a checkpoint are fp32 unless `type` says otherwise. Frozen adapters are joined with the one that trains.
 * @throws {RkifError} INVALID_ARGUMENT where nothing trained.
 */
export async function saveTrained(
  {
    model,
    folder,
    trainable,
    config,
  }: Pick<TrainedModel, "model" | "folder" | "trainable"> & {
    config: Pick<ModelConfig, "family">;
  },
  target: string,
  { baseName, type = "F32" }: { baseName: string; type?: "F32" | "F16" | "BF16" },
): Promise<void> {
  if (model.layout.length === 0) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `${target}: the model was loaded without an adapter; there is nothing to save`,
    );
  }
  await mkdir(target, { recursive: true });
  const addon = loadAddon();
  if (trainable.kind === "full") {
    await addon.writeSafetensors(join(target, "model.safetensors"), tensorsOf(model, type), { format: "pt" });
    return copyCompanions(folder, target);
  }
  const isJoined = model.frozenAdapters > 0;
  const tensors = isJoined ? await joinedTensors(model) : tensorsOf(model, "F32");
  const lora = isJoined ? joinedConfig(trainable, model.frozenAdapters + 1) : trainable;
  await addon.writeSafetensors(join(target, adapterFile), tensors, { format: "pt" });
  await writeAdapterConfig(target, lora, { family: config.family, baseModel: baseName });
}

/** The flat vector's tensors, written from where they are. */
function tensorsOf(
  { layout, parameters }: Pick<Model, "layout" | "parameters">,
  type: TensorToWrite["type"],
): TensorToWrite[] {
  return layout.map(({ name, shape, offset }) => ({
    name,
    shape: [...shape],
    type,
    from: parameters,
    offset,
  }));
}
