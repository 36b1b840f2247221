import { stat } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { z } from "zod";
import { RkifError } from "../errors.js";
import type { SafetensorsFile } from "../native/contract.js";
import { loadAddon } from "../native/load.js";
import { exists } from "./exists.js";
import { checkFields, readJsonFile, shown } from "./json-file.js";

/** Opens a safetensors file and checks it as a whole: the addon's `openSafetensors`. */
export type OpenSafetensors = (path: string) => Promise<SafetensorsFile>;

export const openWithAddon: OpenSafetensors = async (path) => loadAddon().openSafetensors(path);

/** A checkpoint's files and what was found in them. */
export interface Checkpoint {
  readonly folder: string;
  /** Safetensors files that together hold the weights, by name. */
  readonly files: string[];
  /** The file of each tensor. */
  readonly tensors: ReadonlyMap<string, string>;
  /** By file, tensors that a shard holds and the index does not place there: not to be loaded. */
  readonly skip: Record<string, string[]>;
  /** For people; one line each. */
  readonly warnings: string[];
}

const single = "model.safetensors";
const sharded = "model.safetensors.index.json";
const pickled: readonly string[] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

const indexSchema = z.looseObject(
  {
    weight_map: z.record(
      z.string(),
      z.string("the name of a shard file"),
      "an object of tensor names and shard files",
    ),
  },
  "an object",
);

/**
 * Finds the weights of a checkpoint folder: `model.safetensors`, or the shards that `model.safetensors.index.json` names, each
 * opened and checked. A tensor that a shard holds beyond the index is skipped with a warning, as transformers ignores it.
 * @throws {RkifError} CHECKPOINT_INVALID naming file and tensor where a file is missing or broken, where the index leads out of the
 * folder or names a tensor that its shard does not hold, or where there are only pickled weights (with the command that converts them).
 */
export async function readCheckpoint(
  folder: string,
  open: OpenSafetensors = openWithAddon,
): Promise<Checkpoint> {
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) {
    throw invalid(folder, "is not a folder; expected the folder of a checkpoint");
  }
  if (await exists(join(folder, single))) {
    const file = join(folder, single);
    const names = await tensorNames(file, open);
    return {
      folder,
      files: [file],
      tensors: new Map(names.map((name) => [name, file])),
      skip: {},
      warnings: [],
    };
  }
  if (await exists(join(folder, sharded))) return readShards(folder, open);
  for (const name of pickled) {
    if (await exists(join(folder, name))) {
      throw invalid(
        join(folder, name),
        `holds pickled weights, which run code when they are read; expected ${single}. Convert a checkpoint you trust with:\n` +
          (await conversionCommand(folder)),
      );
    }
  }
  throw invalid(folder, `holds no weights; expected ${single}, or ${sharded} with its shards`);
}

/** The safetensors files of a checkpoint folder; see {@link readCheckpoint}, which also says what to skip. */
export async function checkpointFiles(
  folder: string,
  open: OpenSafetensors = openWithAddon,
): Promise<string[]> {
  return (await readCheckpoint(folder, open)).files;
}

async function readShards(folder: string, open: OpenSafetensors): Promise<Checkpoint> {
  const index = join(folder, sharded);
  const { weight_map } = checkFields(
    indexSchema,
    await readJsonFile(index, "CHECKPOINT_INVALID"),
    index,
    "CHECKPOINT_INVALID",
  );
  const placed = new Map<string, Set<string>>();
  for (const [tensor, shard] of Object.entries(weight_map)) {
    checkShardName(index, tensor, shard);
    placed.set(shard, (placed.get(shard) ?? new Set()).add(tensor));
  }
  if (placed.size === 0) throw invalid(index, '"weight_map" is empty; expected tensor names and shard files');
  const checkpoint = {
    folder,
    files: [] as string[],
    tensors: new Map<string, string>(),
    skip: {} as Checkpoint["skip"],
    warnings: [] as string[],
  };
  for (const shard of [...placed.keys()].sort()) {
    const expected = placed.get(shard) as Set<string>;
    const file = join(folder, shard);
    if (!(await exists(file))) {
      throw invalid(
        index,
        `names the shard ${shown(shard)}, which does not exist; it should hold ${expected.size} tensors`,
      );
    }
    const names = await tensorNames(file, open);
    const found = new Set(names);
    for (const tensor of expected) {
      if (!found.has(tensor))
        throw invalid(file, `has no tensor ${shown(tensor)}, which ${index} places there`);
      checkpoint.tensors.set(tensor, file);
    }
    const extra = names.filter((name) => !expected.has(name));
    if (extra.length > 0) checkpoint.skip[file] = extra;
    checkpoint.warnings.push(
      ...extra.map((name) => `${file}: tensor ${shown(name)} is not in ${index} and is ignored`),
    );
    checkpoint.files.push(file);
  }
  return checkpoint;
}

/** A shard lies in the checkpoint's folder: an index from elsewhere must not make other files be read. */
function checkShardName(index: string, tensor: string, shard: string): void {
  const parts = shard.split(/[/\\]/);
  if (isAbsolute(shard) || parts.includes("..") || shard.includes("\0") || !shard.endsWith(".safetensors")) {
    throw invalid(
      index,
      `places tensor ${shown(tensor)} in ${shown(shard)}; expected a .safetensors file below the checkpoint's folder`,
    );
  }
}

/** What a checkpoint holds as its head. */
export interface HeadInCheckpoint {
  /** There is a "lm_head.weight". */
  present: boolean;
  /** It holds the same values as the embedding. */
  equalsEmbedding: boolean;
}

/**
 * Compares "lm_head.weight" with the embedding.
 * @throws {RkifError} CHECKPOINT_INVALID where a file breaks the format.
 */
export async function headInCheckpoint(
  files: readonly string[],
  open: OpenSafetensors = openWithAddon,
): Promise<HeadInCheckpoint> {
  const opened: SafetensorsFile[] = [];
  try {
    for (const file of files) opened.push(await open(file));
    const head = locate(opened, "lm_head.weight");
    if (head === undefined) return { present: false, equalsEmbedding: false };
    const embedding =
      locate(opened, "shared.weight") ??
      locate(opened, "encoder.embed_tokens.weight") ??
      locate(opened, "decoder.embed_tokens.weight");
    return { present: true, equalsEmbedding: embedding !== undefined && (await sameValues(head, embedding)) };
  } finally {
    for (const file of opened) file.dispose();
  }
}

interface Located {
  file: SafetensorsFile;
  tensor: SafetensorsFile["tensors"][number];
}

function locate(files: readonly SafetensorsFile[], name: string): Located | undefined {
  for (const file of files) {
    const tensor = file.tensors.find((candidate) => candidate.name === name);
    if (tensor !== undefined) return { file, tensor };
  }
  return undefined;
}

async function sameValues(a: Located, b: Located): Promise<boolean> {
  if (a.tensor.shape.join() !== b.tensor.shape.join()) return false;
  if (a.tensor.type === b.tensor.type) {
    const [left, right] = await Promise.all([
      a.file.readBytes(a.tensor.name),
      b.file.readBytes(b.tensor.name),
    ]);
    return Buffer.compare(left, right) === 0;
  }
  const [left, right] = await Promise.all([
    a.file.readFloat32(a.tensor.name),
    b.file.readFloat32(b.tensor.name),
  ]);
  return left.every((value, i) => value === right[i]);
}

async function tensorNames(file: string, open: OpenSafetensors): Promise<string[]> {
  const opened = await open(file);
  try {
    return opened.tensors.map(({ name }) => name);
  } finally {
    opened.dispose();
  }
}

/** transformers' class that reads and writes all weights of a model type; others are written by the class of the bare model. */
const classes: ReadonlyMap<unknown, string> = new Map([
  ["t5", "AutoModelForSeq2SeqLM"],
  ...["llama", "mistral", "qwen2", "qwen3"].map((type) => [type, "AutoModelForCausalLM"] as const),
]);

async function conversionCommand(folder: string): Promise<string> {
  // Whatever is wrong with the configuration is told when the converted checkpoint is loaded.
  const config = await readJsonFile(join(folder, "config.json"), "CONFIG_INVALID").catch(() => null);
  const name = classes.get((config as { model_type?: unknown } | null)?.model_type) ?? "AutoModel";
  const quoted = `'${folder.replaceAll("'", `'\\''`)}'`;
  const program =
    `import sys; from transformers import ${name} as M; ` +
    "M.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])";
  return `  python3 -c "${program}" ${quoted}`;
}

function invalid(file: string, message: string): RkifError {
  return new RkifError("CHECKPOINT_INVALID", `${file}: ${message}`);
}
