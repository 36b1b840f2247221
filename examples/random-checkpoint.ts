/**
 * Writes a checkpoint of a published shape with random weights, to try sizes without downloading anything. Its answers are noise.
 *
 *     npx tsx examples/random-checkpoint.ts SHAPE FOLDER [--seed 1]
 *
 * Shapes: t5-small, t5-base, t5-large (fp32), llama-2-7b, llama-2-13b, llama-3.2-1b, qwen2.5-0.5b (bf16; files of up to 10 GB). The
 * tokenizer is the embedded model's, and so are the ids of special tokens. Needs little memory, whatever the shape.
 */
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { embeddedModel } from "../lib/models/trained-model.js";
import { PUBLISHED } from "./random-checkpoint/shapes.js";
import { tensorsOf } from "./random-checkpoint/tensors.js";
import { writeWeights } from "./random-checkpoint/write.js";

const { values, positionals } = parseArgs({
  options: { seed: { type: "string", default: "1" } },
  allowPositionals: true,
});
const [name = "", folder = ""] = positionals;
const published = PUBLISHED[name];
if (!published || folder === "" || positionals.length > 2) {
  throw new Error(`expected a shape (${Object.keys(PUBLISHED).join(", ")}) and a folder`);
}
await mkdir(folder, { recursive: true });
const started = performance.now();
const bytes = await writeWeights(folder, {
  tensors: tensorsOf(published.shape),
  type: published.type,
  maxShardBytes: published.maxShardBytes,
  seed: Number(values.seed),
});
const seconds = (performance.now() - started) / 1000;
await writeFile(join(folder, "config.json"), `${JSON.stringify(published.config, null, 2)}\n`);
for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
  await copyFile(join(embeddedModel, file), join(folder, file));
}
const speed = (bytes / 1e6 / seconds).toFixed(0);
process.stderr.write(
  `${folder}: random ${name}, ${(bytes / 1e9).toFixed(2)} GB in ${seconds.toFixed(1)} s (${speed} MB/s)\n`,
);
