/** Which family a checkpoint of the fixtures is of; told from its config.json without the code under test. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ModelFamily } from "../../lib/native/contract.js";
import { readJson } from "./fixtures.js";

export type Family = ModelFamily["family"];

/** Every model type that this package has to load: a set of any of these is computed, never skipped. */
const families: ReadonlyMap<string, Family> = new Map<string, Family>([
  ["t5", "t5"],
  ["mt5", "t5"],
  ["llama", "decoder"],
  ["mistral", "decoder"],
  ["qwen2", "decoder"],
  ["qwen3", "decoder"],
  ["bert", "encoder"],
  ["roberta", "encoder"],
  ["distilbert", "encoder"],
]);

const modelType = (root: string, folder: string): string =>
  String(readJson<{ model_type?: unknown }>(root, `${folder}/config.json`).model_type);

/** Why the model in `root/folder` is none of this package's; null where it is one. */
export function unsupportedModel(root: string, folder: string): string | null {
  if (!existsSync(join(root, folder, "config.json"))) return `${folder} has no config.json`;
  const type = modelType(root, folder);
  return families.has(type) ? null : `model type ${type} is not one of this package's`;
}

export function familyOf(root: string, folder: string): Family {
  const type = modelType(root, folder);
  const family = families.get(type);
  if (family === undefined) throw new Error(`${folder}: model type ${type} is not one of this package's`);
  return family;
}

/** The base model of the adapter in `root/folder`, as a folder below the root. */
export function adapterBase(root: string, folder: string): string {
  return readJson<{ base_model_name_or_path: string }>(root, `${folder}/adapter_config.json`)
    .base_model_name_or_path;
}
