import { basename, extname, join } from "node:path";
import { Option, type Command } from "commander";
import { planBench, describeCell } from "../bench/plan.js";
import { runBench, type BenchEvent } from "../bench/run-bench.js";
import type { BenchInput } from "../bench/spec.js";
import { benchTable, benchText, failureText } from "../bench/tables.js";
import { findBenchmark } from "../data/benchmarks/find.js";
import { taskOrders } from "../data/orders.js";
import { RkifError } from "../errors.js";
import { formatScore, type TableFormat } from "../report/table.js";
import { allOptions } from "../training/config.js";
import { Display, interruptSignal } from "./display.js";
import { addConfigFlags, givenOptions, readConfigFile } from "./flags.js";

interface BenchFlags {
  config?: string;
  methods?: string;
  orders?: string;
  seeds?: string;
  evaluateOn?: string;
  out?: string;
  jobs: string;
  format: TableFormat;
  json?: boolean;
}

export function benchCommand(program: Command): void {
  const command = program
    .command("bench")
    .description("compare methods over orders and seeds; the same command again goes on with what is missing")
    .option("--config <file>", "bench file (JSON): variants, orders, seeds, options; flags go before it")
    .option("--methods <list>", "METHOD, METHOD:PRESET or variants of the bench file, with commas between")
    .option(
      "--orders <list>",
      "orders of the benchmark with commas between, or lists of tasks with semicolons between (default: all)",
    )
    .option("--seeds <list>", "seeds with commas between (default: 1,2,3)")
    .addOption(
      new Option("--evaluate-on <set>", "records that are evaluated on (default: test)").choices([
        "test",
        "dev",
      ]),
    )
    .option("--jobs <n>", "runs at once, each in a process of its own", "1")
    .option("--out <folder>", "folder of the bench (default: bench/NAME)")
    .addOption(
      new Option("--format <format>", "form of the table").choices(["text", "markdown"]).default("text"),
    )
    .option("--json", "print the results as one JSON document on stdout");
  const ours = new Set(["method", "preset", "seed", "order"]);
  addConfigFlags(
    command,
    allOptions()
      .map(({ name }) => name)
      .filter((name) => !ours.has(name)),
  );
  command.action(async () => bench(command.opts<BenchFlags>(), givenOptions(command)));
}

async function bench(flags: BenchFlags, given: Record<string, unknown>): Promise<void> {
  const display = new Display();
  const plan = await planBench(await inputOf(flags, given), flags.config ?? "command line");
  const { signal, release } = interruptSignal(display);
  try {
    const results = await runBench(plan, {
      out: flags.out ?? join("bench", plan.name),
      signal,
      jobs: Number(flags.jobs),
      onEvent: (event) => showBench(display, event),
    });
    display.stop();
    process.stdout.write(`${flags.json ? JSON.stringify(results) : benchText(results, flags.format)}\n`);
    if (results.cells.some(({ state }) => state === "failed")) process.exitCode = 1;
  } finally {
    release();
    display.stop();
  }
}

/** The bench file with what the flags set in it. */
async function inputOf(flags: BenchFlags, given: Record<string, unknown>): Promise<BenchInput> {
  const file =
    flags.config === undefined ? {} : ((await readConfigFile(flags.config)) as Partial<BenchInput>);
  const named = flags.config === undefined ? {} : { name: basename(flags.config, extname(flags.config)) };
  const { methods, orders, seeds, evaluateOn } = flags;
  if (methods === undefined && file.variants === undefined) {
    throw new RkifError(
      "CONFIG_INVALID",
      "there is nothing to compare; expected --methods, or --config with a bench file",
    );
  }
  const options = { ...file.options, ...given };
  return {
    ...named,
    ...file,
    variants: methods === undefined ? file.variants! : split(methods).map((name) => variantIn(file, name)),
    ...(orders === undefined ? {} : { orders: await ordersOf(orders, options) }),
    ...(seeds === undefined ? {} : { seeds: split(seeds).map(seedOf) }),
    ...(evaluateOn === undefined ? {} : { evaluateOn: evaluateOn as "test" | "dev" }),
    options,
  };
}

/** A variant of the bench file by its name, otherwise a method. */
function variantIn(file: Partial<BenchInput>, name: string): BenchInput["variants"][number] {
  const variants = Array.isArray(file.variants) ? file.variants : [];
  return variants.find((variant) => typeof variant === "object" && variant.name === name) ?? name;
}

/** "4,5,6": three orders; "yahoo,agnews;agnews,yahoo": two; "yahoo,agnews": one, of two tasks. */
async function ordersOf(
  text: string,
  { data, benchmark }: Record<string, unknown>,
): Promise<(string | string[])[]> {
  const found =
    typeof data === "string" ? await findBenchmark(data, (benchmark ?? null) as string | null) : null;
  const names = new Set([...Object.keys(taskOrders), ...(found?.orders.keys() ?? [])]);
  const lists = text
    .split(";")
    .filter((part) => part.trim() !== "")
    .map(split);
  if (lists.length === 1 && lists[0]!.every((part) => names.has(part))) return lists[0]!;
  return lists.map((list) => (list.length === 1 ? list[0]! : list));
}

function seedOf(text: string): number {
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  throw new RkifError(
    "CONFIG_INVALID",
    `--seeds has ${JSON.stringify(text)}; expected whole numbers such as 1,2,3`,
  );
}

function split(text: string): string[] {
  return text.split(",").map((part) => part.trim());
}

/** A bar for the cell under way, a line for each that ended, and on a terminal the table so far. */
export function showBench(display: Display, event: BenchEvent): void {
  const label = `[${event.number}/${event.total}] ${describeCell(event.cell)}`;
  if (event.event === "cell-event") {
    // Single evaluations would flood the terminal.
    if (event.told.event !== "evaluation") display.listener(`${label}: `)(event.told);
  } else if (event.event === "cell-end") {
    const { outcome, results } = event;
    display.line(
      outcome.state === "failed"
        ? `${label}: failed ${failureText(outcome)}`
        : `${label}: OP ${formatScore(outcome.OP)}, BWT ${formatScore(outcome.BWT)}`,
    );
    if (process.stderr.isTTY) display.line(benchTable(results));
  }
}
