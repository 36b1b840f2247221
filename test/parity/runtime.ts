/** The code under test as the checks use it: the addon, and models of every family with fixture adapters. */
import { join } from "node:path";
import { loadAdapter } from "../../lib/models/adapter.js";
import { readAdapterConfig } from "../../lib/models/adapter-config.js";
import { readCheckpoint } from "../../lib/models/checkpoint-files.js";
import { readModelConfig } from "../../lib/models/config/index.js";
import { resolveAdaptedModules, type LoraConfig } from "../../lib/models/lora.js";
import type { Addon, BaseType, Model, ModelOptions } from "../../lib/native/contract.js";
import { loadAddon } from "../../lib/native/load.js";
import { adapterBase } from "./families.js";

/** Loaded at the first call; an error of the loader is the test's, not the file's. */
export const addon = (): Addon => loadAddon();

/** What a model trains, by the names of its linear layers. */
type Trainable = (linearModules: readonly string[]) => ModelOptions["trainable"];

async function load(
  folder: string,
  trainable: Trainable,
  { baseDropout, baseType = "float32" }: { baseDropout?: number; baseType?: BaseType } = {},
): Promise<Model> {
  const { files, skip } = await readCheckpoint(folder);
  const config = await readModelConfig(folder, files);
  return addon().loadModel({
    ...config,
    files,
    skip,
    baseType,
    trainable: trainable(addon().linearModules(config)),
    ...(baseDropout === undefined ? {} : { baseDropout }),
  });
}

export function loadBase(root: string, folder: string): Promise<Model> {
  return load(join(root, folder), () => ({ kind: "lora", dropout: 0, modules: [] }));
}

export function loadFull(root: string, folder: string, baseDropout?: number): Promise<Model> {
  return load(join(root, folder), () => ({ kind: "full" }), baseDropout === undefined ? {} : { baseDropout });
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
  const lora: LoraConfig = await readAdapterConfig(join(root, folder));
  const model = await load(
    join(root, adapterBase(root, folder)),
    (modules) => ({
      kind: "lora",
      dropout: rates.lora ?? lora.dropout,
      modules: resolveAdaptedModules(lora, modules),
    }),
    rates.base === undefined ? {} : { baseDropout: rates.base },
  );
  await loadAdapter({ model, trainable: { kind: "lora", ...lora } }, join(root, folder));
  return model;
}
