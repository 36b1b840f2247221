/**
 * Writes a random T5 checkpoint of a published shape, to try sizes without downloading anything. Its answers are noise.
 *
 *     npx tsx examples/random-t5.ts --shape t5-small --out checkpoints/random-t5-small
 *
 * Shapes: t5-small, t5-base, t5-large (config.json of the originals on the Hugging Face hub). The tokenizer is the embedded model's.
 */
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { embeddedModel, loadAddon, type T5Config } from "../lib/index.js";
import { configJson, randomCheckpoint, SHAPE } from "./embedded-model/shape.js";

const PUBLISHED: Record<string, Partial<T5Config>> = {
  "t5-small": { dModel: 512, dKv: 64, dFf: 2048, numHeads: 8, numLayers: 6, numDecoderLayers: 6 },
  "t5-base": { dModel: 768, dKv: 64, dFf: 3072, numHeads: 12, numLayers: 12, numDecoderLayers: 12 },
  "t5-large": { dModel: 1024, dKv: 64, dFf: 4096, numHeads: 16, numLayers: 24, numDecoderLayers: 24 },
};

const { values } = parseArgs({
  options: {
    shape: { type: "string", default: "t5-small" },
    out: { type: "string" },
    seed: { type: "string", default: "1" },
  },
});
const published = PUBLISHED[values.shape];
if (!published || values.out === undefined) {
  throw new Error(`expected --shape ${Object.keys(PUBLISHED).join("|")} and --out FOLDER`);
}
const config: T5Config = { ...SHAPE, ...published, dropoutRate: 0.1, vocabSize: 32128 };
await mkdir(values.out, { recursive: true });
const tensors = randomCheckpoint(config, Number(values.seed));
await loadAddon().writeSafetensors(join(values.out, "model.safetensors"), tensors, { format: "pt" });
await writeFile(join(values.out, "config.json"), `${JSON.stringify(configJson(config), null, 2)}\n`);
for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
  await copyFile(join(embeddedModel, file), join(values.out, file));
}
process.stderr.write(`${values.out}: random ${values.shape}\n`);
