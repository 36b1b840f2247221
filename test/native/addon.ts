/** What the tests of the addon share: the live addon, a small model on it, and assertions about errors. */
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { readCheckpoint } from "../../lib/models/checkpoint-files.js";
import { readModelConfig } from "../../lib/models/config/index.js";
import type {
  Addon,
  AdamWOptions,
  Model,
  ModelOptions,
  PackedBatch,
  Vector,
} from "../../lib/native/contract.js";
import { loadAddon } from "../../lib/native/load.js";

/** Loaded at the first call; an error of the loader is the test's, not the file's. */
export const addon = (): Addon => loadAddon();

/** libtorch's operators that wait for a device; what the addon reads itself is "rkif::wait" in a profile. */
export const waitingOperators: readonly string[] = [
  ...["aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero"],
];

/** Of an update that neither clips nor decays weights. */
export const adamwOptions: AdamWOptions = {
  ...{ learningRate: 0.01, update: 1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
  ...{ weightDecay: 0, maxGradNorm: null },
};

export function vector(values: ArrayLike<number>): Vector {
  const result = addon().createVector(values.length);
  result.set(Float32Array.from(values));
  return result;
}

/** A vector's values as plain numbers. */
export async function read(of: Vector): Promise<number[]> {
  return Array.from(await of.read());
}

/** A class' own member as the engine keeps it; the functions in it have no object of their own. */
export interface Member {
  readonly value?: unknown;
  readonly get?: (...args: unknown[]) => unknown;
  readonly set?: unknown;
}

/** The members of the class of `handle`, by name; without the constructor. */
export function members(handle: object): Record<string, Member> {
  const all = Object.getOwnPropertyDescriptors(Object.getPrototypeOf(handle) as object);
  return Object.fromEntries(Object.entries(all).filter(([name]) => name !== "constructor"));
}

/** Numbers as fp32 keeps them. */
export function fp32(...values: number[]): number[] {
  return Array.from(Float32Array.from(values));
}

/** Checks that an error is the package's, carries `code` and says each of `words`. */
export function expectError(error: unknown, code: string, words: readonly string[]): void {
  expect(error).to.be.instanceOf(Error);
  const { name, code: found, message } = error as Error & { code?: string };
  expect(found, message).to.equal(code);
  expect(name).to.equal("RkifError");
  for (const word of words) expect(message).to.contain(word);
}

/** Checks that the call itself throws; a promise that rejects later would not do. */
export function refused(call: () => unknown, code: string, ...words: string[]): void {
  let error: unknown;
  try {
    call();
  } catch (thrown) {
    error = thrown;
  }
  expectError(error, code, words);
}

/** Checks that the promise rejects. */
export async function rejected(promise: Promise<unknown>, code: string, ...words: string[]): Promise<void> {
  let error: unknown;
  await promise.catch((reason: unknown) => {
    error = reason;
  });
  expectError(error, code, words);
}

/** A T5 with random weights: 96 tokens, width 24, two layers on each side. */
export const smallModel: string = fileURLToPath(new URL("../fixtures/data/models/t5", import.meta.url));

/** A checkpoint with an adapter of rank 2 on the layers whose names end in a target. */
export async function modelOptions(
  folder: string = smallModel,
  targets: readonly string[] = [".q", ".v"],
): Promise<ModelOptions> {
  const { files, skip } = await readCheckpoint(folder);
  const config = await readModelConfig(folder, files);
  const modules = addon()
    .linearModules(config)
    .filter((module) => targets.some((target) => module.endsWith(target)))
    .map((module) => ({ module, r: 2, scale: 2 }));
  return {
    ...config,
    files,
    skip,
    baseType: "float32",
    trainable: { kind: "lora", dropout: 0, modules },
  };
}

/** The small model with an adapter that does something: every parameter 0.05 or -0.05. */
export async function loadSmallModel(): Promise<Model> {
  const model = await addon().loadModel(await modelOptions());
  model.parameters.set(
    Float32Array.from({ length: model.parameters.length }, (_, i) => (i % 3 ? 0.05 : -0.05)),
  );
  return model;
}

export const batch: PackedBatch = {
  inputIds: Int32Array.of(5, 6, 7, 1, 8, 1),
  inputLengths: Int32Array.of(4, 2),
  labels: Int32Array.of(9, 1, 10, -100, 1),
  labelLengths: Int32Array.of(2, 3),
  recordKeys: Uint32Array.of(0, 1),
};
