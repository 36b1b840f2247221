/**
 * The tables of the Recurrent-KIF paper, each from the bench file of its name in paper/:
 *
 *     npx tsx examples/benchmarks/paper.ts main --data data/long-sequence --model checkpoints/t5-large
 *     npx tsx examples/benchmarks/paper.ts model-size --data data/long-sequence --model checkpoints/t5-base,checkpoints/t5-large
 *     npx tsx examples/benchmarks/paper.ts q-m --data data/long-sequence --model MODEL --seeds 1,2 --options '{"epochs": 1}'
 *
 * main, main-superni, ablations, orders (order sensitivity), forgetting (over time), memory (size), keep-fraction, q-m (inner and outer
 * steps), model-size. What is not in a file is the package's default, which is the published setting. The same call again goes on with
 * what is missing; results are kept in bench/paper-TABLE (--out).
 */
import { readFile, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { parseVariant } from "../../lib/bench/spec.js";
import { RkifError, benchText, type BenchInput } from "../../lib/index.js";
import { runHere, settled } from "./shared/run-here.js";
import { curvesText } from "./shared/forgetting.js";

const files = fileURLToPath(new URL("./paper", import.meta.url));

await settled(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      data: { type: "string" },
      model: { type: "string" },
      seeds: { type: "string" },
      orders: { type: "string" },
      options: { type: "string", default: "{}" },
      out: { type: "string" },
      markdown: { type: "boolean", default: false },
    },
  });
  const tables = (await readdir(files)).map((file) => basename(file, ".json")).sort();
  const [table] = positionals;
  if (table === undefined || !tables.includes(table) || positionals.length > 1) {
    throw new RkifError("INVALID_ARGUMENT", `expected one table of ${tables.join(", ")}`);
  }
  if (values.data === undefined || values.model === undefined) {
    throw new RkifError("INVALID_ARGUMENT", "expected --data FOLDER and --model FOLDER");
  }
  const file = join(files, `${table}.json`);
  const bench = JSON.parse(await readFile(file, "utf8")) as BenchInput;
  const models = values.model.split(",");
  const input: BenchInput = {
    ...bench,
    variants: models.length === 1 ? bench.variants : forModels(bench.variants, models),
    ...(values.seeds === undefined ? {} : { seeds: values.seeds.split(",").map(Number) }),
    ...(values.orders === undefined ? {} : { orders: values.orders.split(",") }),
    options: {
      ...bench.options,
      ...(JSON.parse(values.options) as Record<string, unknown>),
      data: values.data,
      ...(models.length === 1 ? { model: models[0] } : {}),
    },
  };
  const out = values.out ?? join("bench", `paper-${table}`);
  const results = await runHere(input, { out }, file);
  const format = values.markdown ? "markdown" : "text";
  process.stdout.write(`${benchText(results, format)}\n`);
  if (table === "forgetting") process.stdout.write(`\n${await curvesText(results, out, format)}\n`);
});

/** Every variant with every model. */
function forModels(variants: BenchInput["variants"], models: readonly string[]): BenchInput["variants"] {
  return variants.flatMap((variant) => {
    const entry = typeof variant === "string" ? parseVariant(variant) : variant;
    return models.map((model) => ({
      ...entry,
      name: `${entry.name ?? entry.method}, ${basename(model)}`,
      options: { ...entry.options, model },
    }));
  });
}
