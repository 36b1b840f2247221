import { join } from "node:path";
import { RkifError } from "../errors.js";
import type { AdaptedModule, Model, SafetensorsFile } from "../native/contract.js";
import { readAdapterConfig } from "./adapter-config.js";
import { openWithAddon, type OpenSafetensors } from "./checkpoint-files.js";
import { exists } from "./exists.js";
import { byWholePaths, type LoraConfig, resolveAdaptedModules, unmatched } from "./lora.js";

/** Name of an adapter's weights in its folder. */
export const adapterFile = "adapter_model.safetensors";

/** An adapter folder, written here or by PEFT, as it fits a model. */
export interface Adapter {
  readonly lora: LoraConfig;
  readonly modules: AdaptedModule[];
  /** Adapted layers that play no part in what is computed here: left out of `lora` and `modules`. */
  readonly unused: AdaptedModule[];
  /** Path of the safetensors file. */
  readonly file: string;
  /** Stands before every module's path in the file; empty but for adapters of wrapper classes. */
  readonly prefix: string;
}

/** Expected tensors by name; null: any size. */
type ExpectedShapes = ReadonlyMap<string, readonly (number | null)[]>;

/** Classes with a head of their own keep the encoder under its name: their adapters say "bert.encoder..." for "encoder...". */
export const wrapperPrefixes: readonly string[] = ["", "bert.", "roberta.", "distilbert."];

/** Layers of Python's classes behind the states that texts' means are taken of: PEFT's "all-linear" adapts them too. */
const unusedModules: ReadonlySet<string> = new Set(["pooler.dense"]);

const tensorKey = /^base_model\.model\.(.+)\.lora_[AB]\.weight$/;

/** PEFT's name of a module's A or B. */
export function adapterKey(module: string, matrix: "A" | "B"): string {
  return `base_model.model.${module}.lora_${matrix}.weight`;
}

/**
 * Reads an adapter folder's configuration and checks its tensors' names and ranks against it and the model's linear layers.
 * @param linearModules - the addon's list for the model
 * @throws {RkifError} CONFIG_INVALID or CONFIG_UNSUPPORTED naming a field of adapter_config.json; INVALID_ARGUMENT where its targets
 * do not fit the model; CHECKPOINT_INVALID where there are no weights; CHECKPOINT_MISMATCH naming a tensor.
 */
export async function readAdapter(
  folder: string,
  linearModules: readonly string[],
  open: OpenSafetensors = openWithAddon,
): Promise<Adapter> {
  const stored = await readAdapterConfig(folder);
  const file = await openAdapter(folder, open);
  try {
    const prefix = wrapperPrefix(file, new Set(linearModules));
    const unused = unusedIn(file, prefix);
    const prefixed = [...linearModules, ...unusedModules].map((module) => prefix + module);
    const source = { name: join(folder, "adapter_config.json"), lenient: true };
    const bare = (module: string): string => module.slice(prefix.length);
    const adapted = resolveAdaptedModules(stored, prefixed, source).filter(
      ({ module }) => !unusedModules.has(bare(module)) || unused.includes(bare(module)),
    );
    const expected = adapted.flatMap(({ module, r }): [string, (number | null)[]][] => [
      [adapterKey(module, "A"), [r, null]],
      [adapterKey(module, "B"), [null, r]],
    ]);
    checkTensors(file, new Map(expected));
    const modules = adapted.map((entry) => ({ ...entry, module: bare(entry.module) }));
    const isUsed = ({ module }: AdaptedModule): boolean => !unused.includes(module);
    // Targets that match one of the model's layers only keep their form.
    const plain = unused.length === 0 && prefix === "" && unmatched(stored, linearModules).length === 0;
    const lora = plain ? stored : byWholePaths(stored, prefixed, prefix);
    return {
      lora: { ...lora, targetModules: withoutModules(lora.targetModules, [...unusedModules]) },
      modules: modules.filter(isUsed),
      unused: modules.filter((entry) => !isUsed(entry)),
      file: file.path,
      prefix,
    };
  } finally {
    file.dispose();
  }
}

/**
 * Loads an adapter folder, written here or by PEFT, into a model with the same adapter shape.
 * @throws {RkifError} CHECKPOINT_MISMATCH naming the first tensor that does not fit.
 */
export async function loadAdapter(
  { model, trainable }: { model: Model; trainable: { kind: "full" | "lora" } },
  folder: string,
): Promise<void> {
  if (trainable.kind !== "lora") {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `${folder}: an adapter cannot be loaded into a model whose every weight trains`,
    );
  }
  const file = await openAdapter(folder, openWithAddon);
  try {
    const prefix = wrapperPrefix(file, new Set(model.layout.flatMap(({ name }) => moduleOf(name) ?? [])));
    const nameInFile = (name: string): string =>
      name.replace("base_model.model.", `base_model.model.${prefix}`);
    const left = unusedIn(file, prefix).map((module) => prefix + module);
    checkTensors(
      file,
      new Map(model.layout.map(({ name, shape }) => [nameInFile(name), shape])),
      new Set(left.flatMap((module) => [adapterKey(module, "A"), adapterKey(module, "B")])),
    );
    for (const { name, offset } of model.layout) file.readInto(nameInFile(name), model.parameters, offset);
    await model.parameters.read(0, 0); // reading is enqueued: errors show here, while the file is still open
  } finally {
    file.dispose();
  }
}

/**
 * @param ignored - names of tensors that may be there and are not looked at
 * @throws {RkifError} CHECKPOINT_MISMATCH naming the first tensor that is missing, of another shape, or too many.
 */
export function checkTensors(
  file: SafetensorsFile,
  expected: ExpectedShapes,
  ignored: ReadonlySet<string> = new Set(),
): void {
  const tensors = file.tensors.filter(({ name }) => !ignored.has(name));
  const stored = new Map(tensors.map(({ name, shape }) => [name, shape]));
  for (const [name, shape] of expected) {
    const found = stored.get(name);
    const fits =
      found?.length === shape.length && shape.every((size, i) => size === null || size === found[i]);
    if (!fits) {
      throw new RkifError(
        "CHECKPOINT_MISMATCH",
        `${file.path}: tensor "${name}" ${found ? `is [${found.join(", ")}]` : "is missing"}; ` +
          `expected [${shape.map((size) => size ?? "any").join(", ")}]`,
      );
    }
    stored.delete(name);
  }
  const [extra] = stored.keys();
  if (extra !== undefined) {
    throw new RkifError(
      "CHECKPOINT_MISMATCH",
      `${file.path}: tensor "${extra}" belongs to no adapted module; expected the adapter of ${expected.size} tensors ` +
        `(adapters of the head and of embeddings are not supported)`,
    );
  }
}

async function openAdapter(folder: string, open: OpenSafetensors): Promise<SafetensorsFile> {
  const file = join(folder, adapterFile);
  const pickled = join(folder, "adapter_model.bin");
  if (!(await exists(file)) && (await exists(pickled))) {
    throw new RkifError(
      "CHECKPOINT_INVALID",
      `${pickled}: holds pickled weights, which run code when they are read; expected ${adapterFile}. Load an adapter you trust with ` +
        "PEFT (PeftModel.from_pretrained) and save it again (save_pretrained), which writes that file",
    );
  }
  return open(file);
}

function moduleOf(tensor: string): string | undefined {
  return tensorKey.exec(tensor)?.[1];
}

/** The prefix without which every tensor belongs to one of the modules; where there is none, the tensors are named as they do not fit. */
function wrapperPrefix(file: SafetensorsFile, modules: ReadonlySet<string>): string {
  const stored = file.tensors.flatMap(({ name }) => moduleOf(name) ?? []);
  const fits = (prefix: string): boolean =>
    stored.every((path) => {
      const bare = path.slice(prefix.length);
      return path.startsWith(prefix) && (modules.has(bare) || unusedModules.has(bare));
    });
  return wrapperPrefixes.find(fits) ?? "";
}

/** Paths, without the prefix, of the file's adapted layers that play no part here. */
function unusedIn(file: SafetensorsFile, prefix: string): string[] {
  const stored = new Set(file.tensors.flatMap(({ name }) => moduleOf(name) ?? []));
  return [...unusedModules].filter((module) => stored.has(prefix + module));
}

function withoutModules(targets: LoraConfig["targetModules"], modules: readonly string[]): string[] | string {
  return typeof targets === "string" ? targets : targets.filter((target) => !modules.includes(target));
}
