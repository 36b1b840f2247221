/** The vectors that the method's work is measured on, and what both sides made of them: flat fp32 files in one folder. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Steps take them in turn. */
const gradientVectors = 4;
/** Largest difference of two elements, as a share of the vector's largest. */
export const tolerance = 1e-6;
/** Of a fused vector, elements that may differ by more: their score is so near a threshold that rounding decides. */
const shareAtThreshold = 1e-5;

export async function writeVectors(folder: string, elements: number): Promise<void> {
  await write(join(folder, "parameters.f32"), numbers(elements, 1, 0.1));
  for (let i = 0; i < gradientVectors; i++)
    await write(join(folder, `gradients-${i}.f32`), numbers(elements, 2 + i, 1));
}

export async function readVectors(
  folder: string,
): Promise<{ parameters: Float32Array; gradients: Float32Array[] }> {
  const names = Array.from({ length: gradientVectors }, (_, i) => `gradients-${i}.f32`);
  return {
    parameters: await read(join(folder, "parameters.f32")),
    gradients: await Promise.all(names.map((name) => read(join(folder, name)))),
  };
}

/** Parameters, then importance and uncertainty of the inner and of the outer loop, end to end. */
export async function writeResults(file: string, vectors: readonly Float32Array[]): Promise<void> {
  await writeFile(file, Buffer.concat(vectors.map(bytes)));
}

export interface MethodAgreement {
  /** Largest differences as shares of each vector's largest element. */
  averages: number;
  /** Fused parameters, without those at a threshold. */
  parameters: number;
  atThreshold: number;
}

/** @throws an error where the two differ. */
export async function compareResults(
  folder: string,
  files: { here: string; peer: string },
  elements: number,
): Promise<MethodAgreement> {
  const here = await read(join(folder, files.here));
  const peer = await read(join(folder, files.peer));
  return compareVectors(here, peer, elements);
}

/** See {@link compareResults}. */
export function compareVectors(here: Float32Array, peer: Float32Array, elements: number): MethodAgreement {
  const vectors = 5;
  if (here.length !== vectors * elements || peer.length !== here.length) {
    throw new Error(
      `${here.length} numbers here and ${peer.length} of the peer; expected ${vectors} vectors of ${elements}`,
    );
  }
  const differences = Array.from({ length: vectors }, (_, i) =>
    differencesOf(
      here.subarray(i * elements, (i + 1) * elements),
      peer.subarray(i * elements, (i + 1) * elements),
    ),
  );
  const [fused, ...averages] = differences;
  const found = {
    averages: Math.max(...averages.map((each) => each.largest)),
    parameters: fused!.largestWithin,
    atThreshold: fused!.beyond,
  };
  if (found.averages <= tolerance && found.atThreshold <= shareAtThreshold * elements) return found;
  throw new Error(
    `the method on ${elements} elements: importance differs by ${found.averages} of its largest element, and ` +
      `${found.atThreshold} fused parameters by more than ${tolerance}; expected at most ${tolerance} and ` +
      `${shareAtThreshold * elements}`,
  );
}

function differencesOf(
  found: Float32Array,
  expected: Float32Array,
): { largest: number; largestWithin: number; beyond: number } {
  const size = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const result = { largest: 0, largestWithin: 0, beyond: 0 };
  for (const [i, value] of expected.entries()) {
    const difference = Math.abs(found[i]! - value) / size;
    // Math.max keeps a NaN, and a NaN is beyond.
    result.largest = Math.max(result.largest, difference);
    if (difference <= tolerance) result.largestWithin = Math.max(result.largestWithin, difference);
    else result.beyond++;
  }
  return result;
}

/** Spread over some powers of two, as gradients are: a xorshift generator, since hashing tens of millions takes long. */
function numbers(count: number, seed: number, size: number): Float32Array {
  let state = Math.imul(seed, 0x9e3779b9) | 1;
  const uniform = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = size * (uniform() - 0.5) * uniform();
  return values;
}

const bytes = (values: Float32Array): Buffer =>
  Buffer.from(values.buffer, values.byteOffset, values.byteLength);

async function write(file: string, values: Float32Array): Promise<void> {
  await writeFile(file, bytes(values));
}

async function read(file: string): Promise<Float32Array> {
  const found = await readFile(file);
  // Copied: a buffer need not begin at a multiple of four bytes.
  return new Float32Array(new Uint8Array(found).buffer);
}
