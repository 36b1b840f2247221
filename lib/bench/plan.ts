import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import type { TaskData } from "../data/tasks.js";
import { RkifError } from "../errors.js";
import {
  findMethod,
  resolveConfig,
  resolveDataOptions,
  splitConfig,
  type ConfigInput,
} from "../training/config.js";
import { learnerOptions, type DataOptions } from "../training/options.js";
import { openData } from "./data.js";
import { parseBench, type BenchInput, type Variant } from "./spec.js";

/** One run of a bench: a variant on an order with a seed. */
export interface Cell {
  readonly variant: string;
  readonly order: string;
  readonly seed: number;
  /** Folder of the run, from the bench folder. */
  readonly run: string;
}

/** A cell with what its run is made from. */
export interface PlannedCell extends Cell {
  readonly config: ConfigInput;
  readonly data: DataOptions & { readonly order: string[] };
}

/** A bench with every name resolved and every option checked; nothing of it has been begun. */
export interface BenchPlan {
  readonly name: string;
  readonly benchmark: string | null;
  readonly variants: readonly Variant[];
  readonly orders: readonly { readonly name: string; readonly tasks: readonly string[] }[];
  readonly seeds: readonly number[];
  readonly evaluateOn: "test" | "dev";
  /** Shared by all variants, as given. */
  readonly options: Readonly<Record<string, unknown>>;
  /** In the order in which they are run: all variants on the first order with the first seed first. */
  readonly cells: readonly PlannedCell[];
  readonly tasks: ReadonlyMap<string, TaskData>;
}

/** Options that a bench sets itself, and what to give instead. */
const own: Readonly<Record<string, string>> = {
  method: "variants (--methods)",
  preset: "variants (--methods METHOD:PRESET)",
  seed: "seeds (--seeds)",
  order: "orders (--orders)",
};

/**
 * Checks a bench and reads its data, so that a mistake shows before the first cell is run.
 * @param source what messages call the input, such as a file's name
 * @throws {RkifError} CONFIG_INVALID or DATA_INVALID naming what is not as expected.
 */
export async function planBench(input: BenchInput, source: string = "bench"): Promise<BenchPlan> {
  const spec = parseBench(input, source);
  refuseOwn(spec.options, `${source}: options`);
  const { learner: shared, data: given } = splitConfig(spec.options);
  const dataOptions = resolveDataOptions(given, source);
  const data = await openData(dataOptions, spec.orders);
  const variants = spec.variants.map((variant) => checked(variant, shared, spec.variants, source));
  const cells = spec.seeds.flatMap((seed) =>
    data.orders.flatMap((order) =>
      variants.map(({ variant, config }) => ({
        ...{ variant: variant.name, order: order.name, seed },
        run: join("runs", folderName(variant.name), folderName(`order-${order.name}`), `seed-${seed}`),
        config: { ...config, seed },
        data: { ...dataOptions, data: data.folder, order: [...order.tasks] },
      })),
    ),
  );
  refuseTwice(cells, source);
  if (spec.evaluateOn === "dev") refuseWithoutDev(data.tasks);
  const { seeds, evaluateOn, options } = spec;
  return {
    name: spec.name ?? data.name,
    benchmark: data.benchmark,
    variants: spec.variants,
    orders: data.orders,
    ...{ seeds, evaluateOn, options, cells },
    tasks: spec.evaluateOn === "dev" ? onDev(data.tasks) : data.tasks,
  };
}

/** A variant's whole configuration but for the seed. */
function checked(
  variant: Variant,
  shared: ConfigInput,
  variants: readonly Variant[],
  source: string,
): { variant: Variant; config: ConfigInput } {
  const where = `${source}: variant "${variant.name}"`;
  refuseOwn(variant.options, where);
  const strays = Object.keys(splitConfig(variant.options).data);
  if (strays.length > 0) {
    throw new RkifError(
      "CONFIG_INVALID",
      `${where}: ${strays.join(", ")} cannot differ between variants, which are compared on the same data; expected it among the bench's options`,
    );
  }
  const has = ({ method }: Variant, option: string): boolean =>
    Object.hasOwn(findMethod(method).options.shape, option);
  const mine = Object.entries(shared).filter(
    ([option]) =>
      Object.hasOwn(learnerOptions.shape, option) ||
      has(variant, option) ||
      !variants.some((other) => has(other, option)),
  );
  const { method, preset } = variant;
  const config: ConfigInput = { ...Object.fromEntries(mine), ...variant.options, method, preset };
  const { model, adapter } = resolveConfig(config, where);
  // As the run keeps them, so that a bench goes on from any working folder.
  if (model !== "embedded") config.model = resolve(model);
  if (adapter !== null) config.adapter = resolve(adapter);
  return { variant, config };
}

function refuseOwn(options: Readonly<Record<string, unknown>>, where: string): void {
  const name = Object.keys(options).find((option) => Object.hasOwn(own, option));
  if (name === undefined) return;
  throw new RkifError("CONFIG_INVALID", `${where}: "${name}" is set by the bench; expected ${own[name]}`);
}

function refuseTwice(cells: readonly Cell[], source: string): void {
  const runs = new Map<string, Cell>();
  for (const cell of cells) {
    const other = runs.get(cell.run);
    if (other) {
      throw new RkifError(
        "CONFIG_INVALID",
        `${source}: ${describeCell(other)} and ${describeCell(cell)} would share the folder ${cell.run}; give each seed and order once, and variants names that differ`,
      );
    }
    runs.set(cell.run, cell);
  }
}

/** "recurrent-kif, order 4, seed 1". */
export function describeCell({ variant, order, seed }: Cell): string {
  return `${variant}, order ${order}, seed ${seed}`;
}

function refuseWithoutDev(tasks: ReadonlyMap<string, TaskData>): void {
  const without = [...tasks.values()].filter(({ dev }) => dev.length === 0).map(({ name }) => name);
  if (without.length === 0) return;
  throw new RkifError(
    "DATA_INVALID",
    `evaluateOn is "dev", but these tasks have no dev records: ${without.join(", ")}`,
  );
}

function onDev(tasks: ReadonlyMap<string, TaskData>): Map<string, TaskData> {
  return new Map([...tasks].map(([name, task]) => [name, { ...task, test: task.dev }]));
}

/** Longest name of a folder here; file systems allow 255 bytes. */
const longest = 100;

function folderName(name: string): string {
  const safe = name.replace(/[^\w.+=,-]+/g, "_");
  if (safe.length <= longest) return safe;
  return `${safe.slice(0, longest - 9)}-${createHash("sha256").update(name).digest("hex").slice(0, 8)}`;
}
