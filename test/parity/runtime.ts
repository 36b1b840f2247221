/**
 * The code under test as the checks use it: the addon, and models of every family with fixture adapters. All is on the CPU, or with
 * RKIF_TEST_DEVICE=cuda on a GPU.
 */
import { join } from "node:path";
import { loadAdapter } from "../../lib/models/adapter.js";
import { readAdapterConfig } from "../../lib/models/adapter-config.js";
import { readCheckpoint } from "../../lib/models/checkpoint-files.js";
import { readModelConfig } from "../../lib/models/config/index.js";
import { openDevice } from "../../lib/models/device.js";
import { resolveAdaptedModules, type LoraConfig } from "../../lib/models/lora.js";
import { embeddedModel } from "../../lib/models/trained-model.js";
import type { Addon, BaseType, Model, ModelOptions, Vector } from "../../lib/native/contract.js";
import { loadAddon } from "../../lib/native/load.js";
import { adapterBase } from "./families.js";

export type TestDevice = "cpu" | "cuda";

/** Where RKIF_TEST_DEVICE wants the tests to compute. */
export function testDevice(environment: NodeJS.ProcessEnv = process.env): TestDevice {
  const named = environment["RKIF_TEST_DEVICE"] ?? "cpu";
  if (named === "cpu" || named === "cuda") return named;
  throw new Error(`RKIF_TEST_DEVICE is ${named}; expected cpu or cuda`);
}

/** A GPU is opened before anything is computed: libtorch looks for it once. */
const opened = new Map<TestDevice, ReturnType<typeof openDevice>>();

function open(device: TestDevice): ReturnType<typeof openDevice> {
  let place = opened.get(device);
  if (place === undefined) opened.set(device, (place = openDevice(device)));
  return place;
}

/** On the GPU, for other vectors to be made beside it. */
let onGpu: Promise<Vector> | undefined;

/** Loaded at the first call; an error of the loader is the test's, not the file's. Its vectors are on the tests' device where nothing else is said. */
export async function addon(): Promise<Addon> {
  const device = testDevice();
  await open(device);
  if (device === "cpu") return loadAddon();
  onGpu ??= load(embeddedModel, () => ({ kind: "full" }), {}).then(({ parameters }) => parameters);
  const beside = await onGpu;
  const native = loadAddon();
  const createVector: Addon["createVector"] = (length, like = beside) => native.createVector(length, like);
  return Object.create(native, { createVector: { value: createVector } }) as Addon;
}

/** What a model trains, by the names of its linear layers. */
type Trainable = (linearModules: readonly string[]) => ModelOptions["trainable"];

interface LoadOptions {
  baseDropout?: number;
  baseType?: BaseType;
  device?: TestDevice;
}

async function load(
  folder: string,
  trainable: Trainable,
  { baseDropout, baseType = "float32", device = testDevice() }: LoadOptions = {},
): Promise<Model> {
  const place = await open(device);
  const native = loadAddon();
  const { files, skip } = await readCheckpoint(folder);
  const config = await readModelConfig(folder, files);
  return native.loadModel({
    ...config,
    files,
    skip,
    baseType,
    device: place.device,
    trainable: trainable(native.linearModules(config)),
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
  device: TestDevice = testDevice(),
): Promise<Model> {
  const lora: LoraConfig = await readAdapterConfig(join(root, folder));
  const model = await load(
    join(root, adapterBase(root, folder)),
    (modules) => ({
      kind: "lora",
      dropout: rates.lora ?? lora.dropout,
      modules: resolveAdaptedModules(lora, modules),
    }),
    { device, ...(rates.base === undefined ? {} : { baseDropout: rates.base }) },
  );
  await loadAdapter({ model, trainable: { kind: "lora", ...lora } }, join(root, folder));
  return model;
}
