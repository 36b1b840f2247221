/** The code under test as the checks use it: the addon, and models of the supported families with fixture adapters. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pack as packRecords } from "../../lib/data/pack.js";
import { checkpointFiles } from "../../lib/models/checkpoint-files.js";
import { readT5Config, supportedModelTypes } from "../../lib/models/config.js";
import { adapterShape, loadAdapter, type LoadModelOptions } from "../../lib/models/trained-model.js";
import type { Addon, LoraConfig, Model, PackedBatch } from "../../lib/native/contract.js";
import type { TrainingRecord } from "../../lib/methods/run.js";
import { loadAddon } from "../../lib/native/load.js";
import { readJson } from "./fixtures.js";
import type { Tensor } from "./safetensors.js";

/** Loaded at the first call; an error of the loader is the test's, not the file's. */
export const addon = (): Addon => loadAddon();

/** Why the model in `root/folder` cannot be loaded; null where it can. */
export function unsupportedModel(root: string, folder: string): string | null {
  const path = join(root, folder, "config.json");
  if (!existsSync(path)) return `${folder} has no config.json`;
  const family = String((JSON.parse(readFileSync(path, "utf8")) as { model_type?: unknown }).model_type);
  return supportedModelTypes.includes(family) ? null : `model family ${family} is not supported yet`;
}

/** An adapter that changes nothing: the contract wants one wherever not every weight trains. */
const noAdapter = { kind: "lora", r: 1, alpha: 1, dropout: 0, rsLora: false, targetModules: ["q"] } as const;

/** The base model of the adapter in `root/folder`, as a folder below the root. */
export function adapterBase(root: string, folder: string): string {
  return readJson<{ base_model_name_or_path: string }>(root, `${folder}/adapter_config.json`)
    .base_model_name_or_path;
}

async function load(
  folder: string,
  trainable: LoadModelOptions["trainable"],
  baseDropout?: number,
): Promise<Model> {
  const files = await checkpointFiles(folder);
  return addon().loadModel({
    family: "t5",
    config: await readT5Config(folder, files),
    files,
    baseType: "float32",
    trainable,
    ...(baseDropout === undefined ? {} : { baseDropout }),
  });
}

export function loadBase(root: string, folder: string): Promise<Model> {
  return load(join(root, folder), { ...noAdapter, targetModules: [...noAdapter.targetModules] });
}

export function loadFull(root: string, folder: string, baseDropout?: number): Promise<Model> {
  return load(join(root, folder), { kind: "full" }, baseDropout);
}

/** Rates in place of the configurations'. */
export interface DropoutRates {
  lora?: number;
  base?: number;
}

/** A base model with the PEFT adapter of `root/folder` in its parameters. */
export async function loadWithAdapter(
  root: string,
  folder: string,
  rates: DropoutRates = {},
): Promise<Model> {
  const shape: { kind: "lora" } & LoraConfig = await adapterShape(join(root, folder));
  const trainable = { ...shape, dropout: rates.lora ?? shape.dropout };
  const model = await load(join(root, adapterBase(root, folder)), trainable, rates.base);
  await loadAdapter({ model, trainable }, join(root, folder));
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

/** Rows end to end, and their lengths. */
export function endToEnd(rows: readonly ArrayLike<number>[]): { ids: Int32Array; lengths: Int32Array } {
  return {
    ids: Int32Array.from(rows.flatMap((row) => Array.from(row))),
    lengths: Int32Array.from(rows, (row) => row.length),
  };
}

/**
 * The records of a padded batch of a fixture: input padding is stripped, label rows stay as long as they are, -100 included, since
 * logits are expected there as well.
 */
export function records(tensors: ReadonlyMap<string, Tensor>, prefix: string = ""): TrainingRecord[] {
  const labels = rows(tensorOf(tensors, `${prefix}labels`));
  return unpadded(tensors, prefix).map((inputIds, row) => ({
    inputIds: Int32Array.from(inputIds),
    labels: Int32Array.from(labels[row] ?? []),
    key: row,
  }));
}

export function packedBatch(tensors: ReadonlyMap<string, Tensor>, prefix: string = ""): PackedBatch {
  return packRecords(records(tensors, prefix));
}

export function labelTokens(batch: PackedBatch): number {
  return batch.labels.reduce((sum, label) => sum + (label === -100 ? 0 : 1), 0);
}

export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
