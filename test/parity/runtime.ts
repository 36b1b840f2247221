/** The code under test as the checks use it: the addon, and models of the supported families with fixture adapters. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Addon, LoraConfig, Model, PackedBatch } from "../../lib/native/contract.js";
import { loadAddon } from "../../lib/native/load.js";
import { resolveT5Config } from "../../lib/models/config.js";
import { filesIn, readJson } from "./fixtures.js";
import type { Tensor } from "./safetensors.js";

let loading: Promise<Addon> | undefined;

export function addon(): Promise<Addon> {
  loading ??= (async (): Promise<Addon> => await loadAddon())();
  return loading;
}

const supportedFamilies: readonly string[] = ["t5"];

/** Why the model in `root/folder` cannot be loaded; null where it can. */
export function unsupportedModel(root: string, folder: string): string | null {
  const path = join(root, folder, "config.json");
  if (!existsSync(path)) return `${folder} has no config.json`;
  const family = String((JSON.parse(readFileSync(path, "utf8")) as { model_type?: unknown }).model_type);
  return supportedFamilies.includes(family) ? null : `model family ${family} is not supported yet`;
}

/** An adapter that changes nothing: the contract wants one wherever not every weight trains. */
const noAdapter = { kind: "lora", r: 1, alpha: 1, dropout: 0, rsLora: false, targetModules: ["q"] } as const;

interface PeftConfig {
  base_model_name_or_path: string;
  r: number;
  lora_alpha: number;
  lora_dropout: number;
  use_rslora: boolean;
  target_modules: string[];
}

/** The base model of the adapter in `root/folder`, as a folder below the root. */
export function adapterBase(root: string, folder: string): string {
  return readJson<PeftConfig>(root, `${folder}/adapter_config.json`).base_model_name_or_path;
}

async function load(
  root: string,
  folder: string,
  trainable: ({ kind: "lora" } & LoraConfig) | { kind: "full" },
): Promise<Model> {
  return (await addon()).loadModel({
    family: "t5",
    config: resolveT5Config(readJson(root, `${folder}/config.json`), join(root, folder, "config.json")),
    files: filesIn(root, folder, /^model.*\.safetensors$/).map((name) => join(root, folder, name)),
    baseType: "float32",
    trainable,
  });
}

export function loadBase(root: string, folder: string): Promise<Model> {
  return load(root, folder, { ...noAdapter, targetModules: [...noAdapter.targetModules] });
}

export function loadFull(root: string, folder: string): Promise<Model> {
  return load(root, folder, { kind: "full" });
}

/** A base model with the PEFT adapter of `root/folder` in its parameters. */
export async function loadWithAdapter(root: string, folder: string): Promise<Model> {
  const config = readJson<PeftConfig>(root, `${folder}/adapter_config.json`);
  const model = await load(root, config.base_model_name_or_path, {
    kind: "lora",
    r: config.r,
    alpha: config.lora_alpha,
    dropout: config.lora_dropout,
    rsLora: config.use_rslora,
    targetModules: config.target_modules,
  });
  const file = await (await addon()).openSafetensors(join(root, folder, "adapter_model.safetensors"));
  try {
    for (const { name, offset } of model.layout) file.readInto(name, model.parameters, offset);
    // Surfaces an error of an enqueued read here.
    await model.parameters.read(0, 1);
  } finally {
    file.dispose();
  }
  return model;
}

/** A tensor's rows as lists of integers. */
function rows(tensor: Tensor): number[][] {
  const [count = 0, length = 0] = tensor.shape;
  return Array.from({ length: count }, (_, row) =>
    Array.from(tensor.values.subarray(row * length, (row + 1) * length)),
  );
}

function tensorOf(tensors: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new Error(`the fixture has no tensor ${name}`);
  return tensor;
}

/** The real tokens of padded inputs, row by row. */
export function unpadded(tensors: ReadonlyMap<string, Tensor>, prefix: string = ""): number[][] {
  const attention = rows(tensorOf(tensors, `${prefix}attention_mask`));
  return rows(tensorOf(tensors, `${prefix}input_ids`)).map((ids, row) =>
    ids.filter((_, column) => attention[row]?.[column] === 1),
  );
}

export function pack(inputs: readonly number[][], labels: readonly number[][]): PackedBatch {
  return {
    inputIds: Int32Array.from(inputs.flat()),
    inputLengths: Int32Array.from(inputs, (row) => row.length),
    labels: Int32Array.from(labels.flat()),
    labelLengths: Int32Array.from(labels, (row) => row.length),
    recordKeys: Uint32Array.from(inputs, (_, row) => row),
  };
}

/**
 * A padded batch of a fixture, packed: input padding is stripped, label rows stay as long as they are, -100 included, since logits
 * are expected there as well.
 */
export function packedBatch(tensors: ReadonlyMap<string, Tensor>, prefix: string = ""): PackedBatch {
  return pack(unpadded(tensors, prefix), rows(tensorOf(tensors, `${prefix}labels`)));
}

export function labelTokens(batch: PackedBatch): number {
  return batch.labels.reduce((sum, label) => sum + (label === -100 ? 0 : 1), 0);
}

export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
