/** Checkpoints of published shapes with random weights, and an adapter that both sides read; written once into the cache. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { uniform } from "../../../lib/data/random.js";
import { elementCount } from "../../../lib/models/element-count.js";
import { loadModel, saveTrained } from "../../../lib/models/trained-model.js";
import type { BaseType } from "../../../lib/native/contract.js";
import { readEnvironment } from "../../../lib/native/environment.js";
import { initialAdapter } from "../../../lib/training/initialize.js";
import { PUBLISHED } from "../../random-checkpoint/shapes.js";
import type { Family } from "./batches.js";
import { lora } from "./protocol.js";

const run = promisify(execFile);

/** By the names on the command line, those of examples/random-checkpoint.ts. */
const shapes = {
  "t5-small": "t5-small",
  "t5-base": "t5-base",
  "t5-large": "t5-large",
  "qwen-0.5b": "qwen2.5-0.5b",
  "llama-2-7b": "llama-2-7b",
  "llama-2-13b": "llama-2-13b",
} as const;
export type ModelName = keyof typeof shapes;
export const modelNames = Object.keys(shapes) as ModelName[];

export interface Checkpoint {
  family: Family;
  folder: string;
  adapter: string;
}

export async function checkpointOf(name: ModelName, say: (line: string) => void): Promise<Checkpoint> {
  const shape = shapes[name];
  const published = PUBLISHED[shape]!;
  const digest = createHash("sha256")
    .update(JSON.stringify([published, lora]))
    .digest("hex");
  const folder = join(readEnvironment().cache, "peer", "checkpoints", `${shape}-${digest.slice(0, 8)}`);
  const adapter = join(folder, "adapter");
  if (!(await exists(folder))) {
    say(`writing a random ${shape} to ${folder}`);
    const part = `${folder}.${process.pid}.part`;
    const program = join(import.meta.dirname, "../../random-checkpoint.ts");
    await run(process.execPath, [...process.execArgv, program, shape, part]);
    await writeAdapter(part, join(part, "adapter"), published.type === "F32" ? "float32" : "bfloat16");
    // Last: what stands under the name is whole.
    await rename(part, folder).catch(async (error: unknown) => {
      await rm(part, { recursive: true, force: true });
      if (!(await exists(folder))) throw error;
    });
  }
  return { family: published.shape.family, folder, adapter };
}

/** An adapter for the checkpoint in a folder. A as at the start of a run, B not zero but small: so the adapter has a part in every loss and answer that is compared. */
export async function writeAdapter(
  folder: string,
  adapter: string,
  baseType: BaseType = "float32",
): Promise<void> {
  const loaded = await loadModel({
    // Nothing is computed with it: read from the file as it lies there, whatever the size.
    ...{ model: folder, baseType, prepack: false },
    trainable: {
      ...{ kind: "lora", ...lora, rsLora: false, targetModules: null },
      ...{ rankPattern: {}, alphaPattern: {} },
    },
  });
  const { model } = loaded;
  const values = initialAdapter(model.layout, 1);
  for (const [number, tensor] of model.layout.entries()) {
    if (!tensor.name.includes(".lora_B.")) continue;
    const count = elementCount(tensor);
    for (let i = 0; i < count; i++) values[tensor.offset + i] = 0.02 * (uniform(1, number, i) - 0.5);
  }
  model.parameters.set(values);
  await saveTrained(loaded, adapter, { baseName: "random" });
  model.dispose();
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
