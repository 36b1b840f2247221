import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { RkifError } from "../errors.js";
import type { LowRankProduct, SafetensorsFile, TensorToCopy } from "../native/contract.js";
import { loadAddon } from "../native/load.js";
import { type Adapter, adapterKey, checkTensors, readAdapter, wrapperPrefixes } from "./adapter.js";
import { type Checkpoint, openWithAddon, readCheckpoint } from "./checkpoint-files.js";
import { copyCompanions } from "./companions.js";
import { readModelConfig } from "./config/index.js";
import { modelFolder } from "./trained-model.js";

export interface MergeOptions {
  /** Folder of a Hugging Face checkpoint, or "embedded". */
  model: string;
  /** Folder of an adapter for it, written here or by PEFT. */
  adapter: string;
  /** Folder to make; it may be there if it is empty. */
  out: string;
  /** Where the weights take more, they are split into files of at most this size, a single tensor excepted. Default 5 GB. */
  maxShardBytes?: number;
  /** Told after every file how many bytes of the weights are written. */
  onProgress?: (done: number, total: number) => void;
  /** Heeded between two files; nothing is left behind. */
  signal?: AbortSignal;
}

export interface MergeReport {
  /** Absolute path of the folder. */
  out: string;
  /** Names of the safetensors files in it. */
  files: string[];
  /** Linear layers whose weights changed. */
  modules: number;
  bytes: number;
  /** What was odd about the checkpoint and did no harm; one line each. */
  warnings: string[];
}

/** A tensor of the merged checkpoint, and what it takes. */
export interface PlannedTensor {
  tensor: TensorToCopy;
  bytes: number;
}

/**
 * Writes a checkpoint with an adapter folded into its weights, W + scale * B A, in the form of Hugging Face: computed in fp32, rounded
 * once to the type a weight is stored in; all other tensors, the configuration and the tokenizer are copied as they are. The weights
 * go through memory tensor by tensor. The folder appears when it is complete.
 * @throws {RkifError} INVALID_ARGUMENT where `out` is not empty or the adapter's targets do not fit; CHECKPOINT_INVALID,
 * CHECKPOINT_MISMATCH, CONFIG_INVALID or CONFIG_UNSUPPORTED naming file and tensor or field; ABORTED.
 */
export async function mergeAdapter({
  model,
  adapter: adapterFolder,
  out,
  maxShardBytes = 5e9,
  onProgress,
  signal,
}: MergeOptions): Promise<MergeReport> {
  if (!Number.isSafeInteger(maxShardBytes) || maxShardBytes < 1) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `maxShardBytes is ${maxShardBytes}; expected a positive whole number of bytes`,
    );
  }
  const target = resolve(out);
  await refuseUsedFolder(target);
  const folder = modelFolder(model);
  const checkpoint = await readCheckpoint(folder);
  const config = await readModelConfig(folder, checkpoint.files);
  const adapter = await readAdapter(adapterFolder, loadAddon().linearModules(config));
  const opened: SafetensorsFile[] = [];
  const open = async (path: string): Promise<SafetensorsFile> => {
    const file = await openWithAddon(path);
    opened.push(file);
    return file;
  };
  try {
    const planned = await planTensors(checkpoint, adapter, open);
    const shards = splitIntoShards(planned, maxShardBytes);
    const files = await writeBeside(target, async (temporary) => {
      const names = await writeShards(temporary, shards, { onProgress, signal });
      await copyCompanions(folder, temporary);
      return names;
    });
    const { modules, unused } = adapter;
    return {
      out: target,
      files,
      modules: modules.length + unused.length,
      bytes: bytesOf(planned),
      warnings: checkpoint.warnings,
    };
  } finally {
    for (const file of opened) file.dispose();
  }
}

/** All tensors of the checkpoint, in its order, with what the adapter adds to them. */
async function planTensors(
  checkpoint: Checkpoint,
  adapter: Adapter,
  open: (path: string) => Promise<SafetensorsFile>,
): Promise<PlannedTensor[]> {
  const added = products(checkpoint, adapter, await open(adapter.file));
  const planned: PlannedTensor[] = [];
  const shapes = new Map<string, number[]>();
  for (const path of checkpoint.files) {
    const file = await open(path);
    for (const { name, type, shape, byteLength } of file.tensors) {
      // A shard may hold more than the index places there.
      if (checkpoint.tensors.get(name) !== path) continue;
      const add = added.get(name);
      if (add !== undefined && !["F32", "F16", "BF16"].includes(type)) {
        throw new RkifError(
          "CHECKPOINT_MISMATCH",
          `${path}: tensor "${name}" has type ${type}; expected F32, F16 or BF16 to add the adapter to`,
        );
      }
      if (add !== undefined) shapes.set(name, shape);
      planned.push({ tensor: { name, from: file, ...(add && { add }) }, bytes: byteLength });
    }
  }
  checkShapes(added, shapes);
  return planned;
}

/** What is added to each weight, by the weight's name in the checkpoint. */
function products(
  checkpoint: Checkpoint,
  { modules, unused, prefix }: Adapter,
  from: SafetensorsFile,
): Map<string, LowRankProduct> {
  return new Map(
    [...modules, ...unused].map(({ module, scale }) => {
      const names = wrapperPrefixes.map((wrapper) => `${wrapper}${module}.weight`);
      const name = names.find((candidate) => checkpoint.tensors.has(candidate));
      if (name === undefined) {
        throw new RkifError(
          "CHECKPOINT_MISMATCH",
          `${checkpoint.folder}: holds no tensor "${module}.weight", which ${from.path} adapts`,
        );
      }
      const [a, b] = [adapterKey(prefix + module, "A"), adapterKey(prefix + module, "B")];
      return [name, { from, a, b, scale }];
    }),
  );
}

/** A is [r, in] and B [out, r] for a weight of [out, in]. */
function checkShapes(
  added: ReadonlyMap<string, LowRankProduct>,
  shapes: ReadonlyMap<string, readonly number[]>,
): void {
  const expected = new Map<string, (number | null)[]>();
  for (const [name, { a, b }] of added) {
    const [rows = null, columns = null] = shapes.get(name) ?? [];
    expected.set(a, [null, columns]).set(b, [rows, null]);
  }
  const [first] = added.values();
  if (first !== undefined) checkTensors(first.from, expected);
}

/** Tensors in order, a new shard where the next would exceed `maxBytes`. */
export function splitIntoShards(tensors: readonly PlannedTensor[], maxBytes: number): PlannedTensor[][] {
  const shards: PlannedTensor[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const last = shards.at(-1);
    if (last !== undefined && tensor.bytes <= room) last.push(tensor);
    else {
      shards.push([tensor]);
      room = maxBytes;
    }
    room -= tensor.bytes;
  }
  return shards;
}

async function writeShards(
  folder: string,
  shards: readonly PlannedTensor[][],
  { onProgress, signal }: Pick<MergeOptions, "onProgress" | "signal">,
): Promise<string[]> {
  const number = (n: number): string => String(n).padStart(5, "0");
  const names = shards.map((_, i) =>
    shards.length === 1
      ? "model.safetensors"
      : `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`,
  );
  const total = bytesOf(shards.flat());
  let done = 0;
  onProgress?.(done, total);
  for (const [i, shard] of shards.entries()) {
    if (signal?.aborted) throw new RkifError("ABORTED", "merging was stopped; nothing is kept");
    const tensors = shard.map(({ tensor }) => tensor);
    await loadAddon().writeSafetensors(join(folder, names[i] as string), tensors, { format: "pt" });
    onProgress?.((done += bytesOf(shard)), total);
  }
  if (shards.length > 1) await writeIndex(folder, shards, names);
  return names;
}

async function writeIndex(
  folder: string,
  shards: readonly PlannedTensor[][],
  names: readonly string[],
): Promise<void> {
  const placed = shards.flatMap((shard, i) => shard.map(({ tensor }) => [tensor.name, names[i]] as const));
  const index = {
    metadata: { total_size: bytesOf(shards.flat()) },
    weight_map: Object.fromEntries(placed.sort(([a], [b]) => (a < b ? -1 : 1))),
  };
  await writeFile(join(folder, "model.safetensors.index.json"), `${JSON.stringify(index, undefined, 2)}\n`, {
    flush: true,
  });
}

function bytesOf(tensors: readonly PlannedTensor[]): number {
  return tensors.reduce((sum, { bytes }) => sum + bytes, 0);
}

async function refuseUsedFolder(folder: string): Promise<void> {
  const found = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw new RkifError("INVALID_ARGUMENT", `${folder}: cannot be used as a folder: ${error.message}`, {
      cause: error,
    });
  });
  if (found.length > 0) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `${folder}: is not empty; expected a new folder for the merged checkpoint`,
    );
  }
}

/** Lets `write` fill a folder beside `target`, which then takes its place; a failure leaves nothing. */
async function writeBeside<T>(target: string, write: (folder: string) => Promise<T>): Promise<T> {
  const temporary = `${target}.${randomUUID().slice(0, 8)}.tmp`;
  await mkdir(dirname(target), { recursive: true });
  await mkdir(temporary);
  try {
    const result = await write(temporary);
    await rename(temporary, target);
    return result;
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}
