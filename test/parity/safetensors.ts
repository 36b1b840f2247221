/**
 * A second, independent safetensors reader for the tests: fixtures are read without the code under test. It trusts its files
 * (they are fixtures) and knows the types that expected values and inputs are stored in.
 */
import { readFileSync } from "node:fs";

export interface Tensor {
  readonly shape: readonly number[];
  /** int64 values are converted to doubles: fixtures hold token ids, far below 2^53. */
  readonly values: Float32Array | Float64Array | Uint8Array;
}

interface HeaderEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

function decode(dtype: string, bytes: ArrayBuffer, where: string): Tensor["values"] {
  switch (dtype) {
    case "F32":
      return new Float32Array(bytes);
    case "F64":
      return new Float64Array(bytes);
    case "U8":
    case "BOOL":
      return new Uint8Array(bytes);
    case "I64":
      return Float64Array.from(new BigInt64Array(bytes), Number);
    default:
      throw new Error(`${where}: the tests' reader does not know type ${dtype}`);
  }
}

/** All tensors of a file, in the order of its header. */
export function readSafetensors(path: string): Map<string, Tensor> {
  const file = readFileSync(path);
  const headerLength = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + headerLength)) as Record<string, HeaderEntry>;
  const tensors = new Map<string, Tensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [begin, end] = entry.data_offsets;
    // A copy that starts at offset 0, as typed arrays need aligned starts.
    const bytes = new Uint8Array(file.subarray(8 + headerLength + begin, 8 + headerLength + end)).buffer;
    tensors.set(name, { shape: entry.shape, values: decode(entry.dtype, bytes, `${path}: ${name}`) });
  }
  return tensors;
}
