/** Safetensors files of any size, written piece by piece. */
import { open, writeFile, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { TensorSpec } from "./tensors.js";
import { bytesPer, elementsOf, RandomValues, type StoredType } from "./values.js";

export interface Weights {
  tensors: readonly TensorSpec[];
  type: StoredType;
  maxShardBytes: number;
  seed: number;
}

/** Writes model.safetensors, or shards and their index where that would be too large. Returns the bytes of all tensors. */
export async function writeWeights(folder: string, weights: Weights): Promise<number> {
  const { tensors, type, seed } = weights;
  const values = new RandomValues(type, seed);
  const shards = split(weights);
  const names = shards.map((_, i) =>
    shards.length === 1
      ? "model.safetensors"
      : `model-${counted(i + 1)}-of-${counted(shards.length)}.safetensors`,
  );
  for (const [i, shard] of shards.entries()) {
    await using file = await open(join(folder, names[i]!), "w");
    await writeHeader(file, shard, type);
    // A tensor's number in the whole checkpoint, for values that do not depend on where the files begin.
    for (const tensor of shard) await writeAll(file, values.pieces(tensor, tensors.indexOf(tensor)));
  }
  const total = tensors.reduce((sum, tensor) => sum + bytesOf(tensor, type), 0);
  if (shards.length > 1) {
    const placed = shards.flatMap((shard, i) => shard.map(({ name }) => [name, names[i]!] as const));
    const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(placed) };
    await writeFile(join(folder, "model.safetensors.index.json"), `${JSON.stringify(index, null, 2)}\n`);
  }
  return total;
}

const counted = (n: number): string => String(n).padStart(5, "0");
const bytesOf = (tensor: TensorSpec, type: StoredType): number => bytesPer[type] * elementsOf(tensor);

/** Consecutive tensors that together stay below the limit. */
function split({ tensors, type, maxShardBytes }: Weights): TensorSpec[][] {
  const shards: TensorSpec[][] = [[]];
  let size = 0;
  for (const tensor of tensors) {
    const bytes = bytesOf(tensor, type);
    if (size > 0 && size + bytes > maxShardBytes) {
      shards.push([]);
      size = 0;
    }
    shards.at(-1)!.push(tensor);
    size += bytes;
  }
  return shards;
}

async function writeHeader(
  file: FileHandle,
  tensors: readonly TensorSpec[],
  type: StoredType,
): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const tensor of tensors) {
    const end = offset + bytesOf(tensor, type);
    header[tensor.name] = { dtype: type, shape: tensor.shape, data_offsets: [offset, end] };
    offset = end;
  }
  const text = JSON.stringify(header);
  // Padded with spaces, so that the data is aligned.
  const bytes = Buffer.from(text.padEnd(8 * Math.ceil(text.length / 8)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  await writeAll(file, [length, bytes]);
}

async function writeAll(file: FileHandle, pieces: Iterable<Uint8Array>): Promise<void> {
  for (const piece of pieces) {
    for (let written = 0; written < piece.length;) {
      written += (await file.write(piece, written, piece.length - written)).bytesWritten;
    }
  }
}
