/**
 * The results page: every method on the MiniLM encoder, hyperparameters searched on dev for every method alike.
 *
 *     npx tsx examples/benchmarks/results.ts --data data/long-sequence --model checkpoints/all-MiniLM-L6-v2
 *
 * Takes at most 100 minutes on 2 cores; stopped or killed, the same command goes on. --full runs every method on every order and seed with
 * all records, --smoke takes a minute and shows that everything runs. --options '{"baseType": "bfloat16"}' sets further options.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { RkifError, type BenchResults } from "../../lib/index.js";
import { resultsPage } from "./results/page.js";
import { allMethods, full, longMethods, mainMethods, orderOf, scaled, sharedOptions, smoke, variantOf } from "./results/plan.js"; // prettier-ignore
import { search } from "./results/search.js";
import { runHere, settled } from "./shared/run-here.js";

await settled(async () => {
  const { values } = parseArgs({
    options: {
      data: { type: "string" },
      model: { type: "string" },
      out: { type: "string" },
      page: { type: "string" },
      options: { type: "string", default: "{}" },
      full: { type: "boolean", default: false },
      smoke: { type: "boolean", default: false },
    },
  });
  if (values.data === undefined || values.model === undefined) {
    throw new RkifError("INVALID_ARGUMENT", "expected --data FOLDER and --model FOLDER");
  }
  const sizes = values.smoke ? smoke : values.full ? full : scaled;
  const kind = values.smoke ? "-smoke" : values.full ? "-full" : "";
  const out = values.out ?? join("bench", `results${kind}`);
  const page = values.page ?? (kind === "" ? join("docs", "results.md") : join(out, "results.md"));
  const given = {
    data: values.data,
    model: values.model,
    ...(JSON.parse(values.options) as Record<string, unknown>),
  };

  const { methods: searched, results: searchResults } = await search(sizes, given, join(out, "search"));
  const best = new Map(searched.map(({ name, best: point }) => [name, point.options]));
  const compare = (part: string, names: readonly string[], orders: string[], seeds: number[]): Promise<BenchResults> =>
    runHere(
      {
        name: part,
        variants: names.map((name) => variantOf(name, best.get(name) ?? {})),
        orders: orders.map(orderOf),
        seeds,
        options: sharedOptions(sizes, given, sizes.trainLimit),
      },
      // One folder: what two parts have in common is run once.
      join(out, "comparison"),
      part,
    ); // prettier-ignore

  const every = allMethods(sizes);
  const firstSeed = sizes.seeds.slice(0, 1);
  const { orders, everything } = sizes;
  const all = await compare("all methods", every, [orders.all], everything ? sizes.seeds : firstSeed);
  const main = await compare("main methods", everything ? every : mainMethods, orders.main, sizes.seeds);
  const long =
    orders.long === null
      ? null
      : await compare("long order", everything ? every : longMethods, [orders.long], firstSeed);

  const flags = values.smoke ? " --smoke" : values.full ? " --full" : "";
  const command = `npx tsx examples/benchmarks/results.ts --data DATA --model MODEL${flags}`;
  await mkdir(dirname(page), { recursive: true });
  await writeFile(page, resultsPage({ sizes, searched, searchResults, all, main, long, command }));
  process.stdout.write(`${page}\n`);
});
