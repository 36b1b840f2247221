/** Safetensors files for tests, written and read in the plainest way, so that no addon is needed. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SafetensorsFile } from "../../lib/native/contract.js";

/** Writes fp32 vectors under their names. */
export async function writeTensors(path: string, tensors: Record<string, number[]>): Promise<void> {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const [name, values] of Object.entries(tensors)) {
    header[name] = {
      dtype: "F32",
      shape: [values.length],
      data_offsets: [offset, (offset += 4 * values.length)],
    };
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const data = Float32Array.from(Object.values(tensors).flat());
  await writeFile(path, Buffer.concat([length, text, Buffer.from(data.buffer)]));
}

/** What the tests use of an opened file; `opened` collects the handles, so that leaks show. */
export function plainOpen(opened: { disposed: boolean }[] = []): (path: string) => Promise<SafetensorsFile> {
  return async (path) => {
    const bytes = await readFile(path);
    const end = 8 + Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, end).toString()) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    delete header.__metadata__;
    const read = (name: string): Uint8Array => {
      const [from, to] = header[name]?.data_offsets ?? [NaN, NaN];
      return bytes.subarray(end + from, end + to);
    };
    const file = {
      path,
      tensors: Object.entries(header).map(([name, { dtype, shape, data_offsets }]) => ({
        name,
        type: dtype,
        shape,
        byteLength: data_offsets[1] - data_offsets[0],
      })),
      metadata: {},
      disposed: false,
      dispose(): void {
        this.disposed = true;
      },
      readBytes: async (name: string): Promise<Uint8Array> => read(name),
      readFloat32: async (name: string): Promise<Float32Array> =>
        new Float32Array(Uint8Array.from(read(name)).buffer),
      readInto: (): void => {
        throw new Error("not used here");
      },
    };
    opened.push(file);
    return file;
  };
}

/** Runs `use` with an empty folder that is removed after. */
export async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "rkif-models-"));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The error of something that must fail. */
export async function failure(of: Promise<unknown> | (() => unknown)): Promise<Error & { code?: string }> {
  try {
    await (typeof of === "function" ? of() : of);
  } catch (error) {
    return error as Error;
  }
  throw new Error("expected an error");
}
