/**
 * The results pages: every method side by side, hyperparameters searched on dev for every method alike.
 *
 *     npx tsx examples/benchmarks/results.ts minilm --data data/long-sequence --model checkpoints/all-MiniLM-L6-v2
 *     npx tsx examples/benchmarks/results.ts embedded
 *
 * Takes at most 100 minutes with MiniLM and 20 with the embedded T5 on 2 cores; stopped or killed, the same command goes on. --full runs
 * every method on every order and seed with all records, --smoke takes a minute and shows that everything runs. --jobs: runs at once (as
 * many as there are cores); --options '{"baseType": "float32"}' sets further options.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { RkifError, type BenchResults } from "../../lib/index.js";
import { resultsPage } from "./results/page.js";
import { allMethods, longMethods, mainMethods, orderOf, sharedOptions, variantOf } from "./results/plan.js";
import { search } from "./results/search.js";
import { studies } from "./results/studies.js";
import { runHere, settled } from "./shared/run-here.js";

await settled(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      data: { type: "string" },
      model: { type: "string" },
      out: { type: "string" },
      page: { type: "string" },
      jobs: { type: "string", default: String(availableParallelism()) },
      options: { type: "string", default: "{}" },
      full: { type: "boolean", default: false },
      smoke: { type: "boolean", default: false },
    },
  });
  const [name = ""] = positionals;
  const study = Object.hasOwn(studies, name) ? studies[name] : undefined;
  if (study === undefined || positionals.length > 1) {
    throw new RkifError("INVALID_ARGUMENT", `expected one page of ${Object.keys(studies).join(", ")}`);
  }
  const kind = values.smoke ? "smoke" : values.full ? "full" : "scaled";
  const sizes = study.sizes[kind];
  const suffix = kind === "scaled" ? "" : `-${kind}`;
  const out = values.out ?? join("bench", `results-${name}${suffix}`);
  const page =
    values.page ?? (suffix === "" ? join("docs", "results", `${name}.md`) : join(out, "results.md"));
  const jobs = Number(values.jobs);
  const given: Record<string, unknown> = {
    ...study.options,
    ...(values.data === undefined ? {} : { data: values.data }),
    ...(values.model === undefined ? {} : { model: values.model }),
    ...(JSON.parse(values.options) as Record<string, unknown>),
  };
  if (given["data"] === undefined || given["model"] === undefined) {
    throw new RkifError("INVALID_ARGUMENT", `${name} expects --data FOLDER and --model FOLDER`);
  }

  const found = await search(sizes, given, { out: join(out, "search"), jobs });
  const best = new Map(found.methods.map(({ name, best: point }) => [name, point.options]));
  const compare = (part: string, names: readonly string[], orders: string[], seeds: number[]): Promise<BenchResults> =>
    runHere(
      {
        name: `${name}-${part}`,
        variants: names.map((name) => variantOf(name, best.get(name) ?? {})),
        orders: orders.map(orderOf),
        seeds,
        options: sharedOptions(sizes, given, sizes.trainLimit),
      },
      { out: join(out, part), jobs },
      part,
    ); // prettier-ignore

  const every = allMethods(sizes);
  const firstSeed = sizes.seeds.slice(0, 1);
  const { orders, everything } = sizes;
  const all = await compare("all", every, [orders.all], everything ? sizes.seeds : firstSeed);
  const main =
    orders.main.length === 0
      ? null
      : await compare("main", everything ? every : mainMethods, orders.main, sizes.seeds);
  const long =
    orders.long === null
      ? null
      : await compare("long", everything ? every : longMethods, [orders.long], firstSeed);

  const where = study.options["data"] === undefined ? " --data DATA --model MODEL" : "";
  const flags = kind === "scaled" ? "" : ` --${kind}`;
  const command = `npx tsx examples/benchmarks/results.ts ${name}${where}${flags}`;
  await mkdir(dirname(page), { recursive: true });
  const { methods: searched, results: searchResults } = found;
  await writeFile(page, resultsPage({ study, sizes, searched, searchResults, all, main, long, command }));
  process.stdout.write(`${page}\n`);
});
