import { cp, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RkifError } from "../errors.js";
import type { LoraConfig, Model, T5Config, TensorToWrite } from "../native/contract.js";
import { loadAddon } from "../native/load.js";
import { readAdapterConfig, writeAdapterConfig } from "./adapter-config.js";
import { readCheckpoint } from "./checkpoint-files.js";
import { readT5Config } from "./config.js";
import { setThreadsFor } from "./threads.js";
import { Tokenizer } from "./tokenizer.js";

/** Folder of the small T5 that comes with the package. */
export const embeddedModel: string = fileURLToPath(new URL("../../models/embedded", import.meta.url));

export interface LoadModelOptions {
  /** Folder of a Hugging Face checkpoint, or "embedded". */
  model: string;
  baseType?: "float32" | "bfloat16";
  copyWeights?: boolean;
  /** Threads of one operation, for the whole process; null or absent: one for a small model, libtorch's choice for others. */
  threads?: number | null;
  trainable: { kind: "full" } | ({ kind: "lora" } & LoraConfig);
  /** Dropout rate of the base model in training; absent: its config's. */
  baseDropout?: number;
}

/** A checkpoint with its tokenizer, ready to train. */
export interface TrainedModel {
  readonly model: Model;
  readonly config: T5Config;
  readonly tokenizer: Tokenizer;
  /** The checkpoint's folder. */
  readonly folder: string;
  readonly trainable: LoadModelOptions["trainable"];
  /** What was odd about the checkpoint and did no harm, such as tensors that its index does not list. */
  readonly warnings: readonly string[];
}

/** Folder behind a model's name. */
export function modelFolder(model: string): string {
  return model === "embedded" ? embeddedModel : model;
}

/**
 * Loads config.json, the weights and tokenizer.json of a checkpoint folder.
 * @throws {RkifError} CONFIG_INVALID, CONFIG_UNSUPPORTED, CHECKPOINT_INVALID or CHECKPOINT_MISMATCH, naming file and field or tensor.
 */
export async function loadModel(options: LoadModelOptions): Promise<TrainedModel> {
  const folder = modelFolder(options.model);
  const { files, skip, warnings } = await readCheckpoint(folder);
  const config = await readT5Config(folder, files);
  const tokenizer = await Tokenizer.open(folder);
  if (tokenizer.size > config.vocabSize) {
    throw new RkifError(
      "CHECKPOINT_MISMATCH",
      `${tokenizer.file} has ${tokenizer.size} entries, but the model's vocabulary is ${config.vocabSize}; expected a tokenizer of this checkpoint`,
    );
  }
  await setThreadsFor(config, options.threads ?? null);
  const model = await loadAddon().loadModel({
    family: "t5",
    config,
    files,
    skip,
    baseType: options.baseType ?? "float32",
    copyWeights: options.copyWeights ?? false,
    trainable: options.trainable,
    ...(options.baseDropout === undefined ? {} : { baseDropout: options.baseDropout }),
  });
  return { model, config, tokenizer, folder, trainable: options.trainable, warnings };
}

/**
 * Writes what was trained: an adapter folder as PEFT saves it, or, where every weight trained, a whole checkpoint folder.
 * Weights of a checkpoint are fp32 unless `type` says otherwise.
 */
export async function saveTrained(
  { model, folder, trainable }: Pick<TrainedModel, "model" | "folder" | "trainable">,
  target: string,
  { baseName, type = "F32" }: { baseName: string; type?: "F32" | "F16" | "BF16" },
): Promise<void> {
  await mkdir(target, { recursive: true });
  const tensors: TensorToWrite[] = model.layout.map(({ name, shape, offset }) => ({
    name,
    shape: [...shape],
    type: trainable.kind === "lora" ? "F32" : type,
    from: model.parameters,
    offset,
  }));
  if (trainable.kind === "lora") {
    await loadAddon().writeSafetensors(join(target, "adapter_model.safetensors"), tensors, { format: "pt" });
    await writeAdapterConfig(target, { ...trainable, baseModel: baseName });
    return;
  }
  await loadAddon().writeSafetensors(join(target, "model.safetensors"), tensors, { format: "pt" });
  for (const file of ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]) {
    await cp(join(folder, file), join(target, file)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
  }
}

/**
 * Loads an adapter folder, written here or by PEFT, into a model with the same adapter shape.
 * @throws {RkifError} CHECKPOINT_MISMATCH naming the first tensors that do not fit.
 */
export async function loadAdapter(
  { model, trainable }: Pick<TrainedModel, "model" | "trainable">,
  folder: string,
): Promise<void> {
  if (trainable.kind !== "lora") {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `${folder}: an adapter cannot be loaded into a model whose every weight trains`,
    );
  }
  const path = join(folder, "adapter_model.safetensors");
  const file = await loadAddon().openSafetensors(path);
  try {
    const stored = new Map(file.tensors.map((tensor) => [tensor.name, tensor]));
    for (const { name, shape, offset } of model.layout) {
      const found = stored.get(name)?.shape;
      if (found?.join() !== shape.join()) {
        throw new RkifError(
          "CHECKPOINT_MISMATCH",
          `${path}: tensor "${name}" ${found ? `is [${found.join(", ")}]` : "is missing"}; expected [${shape.join(", ")}]`,
        );
      }
      stored.delete(name);
      file.readInto(name, model.parameters, offset);
    }
    const [extra] = stored.keys();
    if (extra !== undefined) {
      throw new RkifError(
        "CHECKPOINT_MISMATCH",
        `${path}: tensor "${extra}" belongs to no adapted module; expected the adapter of ${model.layout.length} tensors`,
      );
    }
    await model.parameters.read(0, 0); // reading is enqueued: errors show here, while the file is still open
  } finally {
    file.dispose();
  }
}

/** The adapter's shape, from the adapter folder itself. */
export async function adapterShape(folder: string): Promise<{ kind: "lora" } & LoraConfig> {
  return { kind: "lora", ...(await readAdapterConfig(folder)) };
}
