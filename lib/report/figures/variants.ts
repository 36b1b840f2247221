import { taskOrders } from "../../data/orders.js";
import { runtimeOptions } from "../../training/options.js";
import type { Bench } from "../data/bench.js";
import type { RunData } from "../data/read-run.js";

/** Runs that differ in nothing but the seed. */
export interface VariantRuns {
  /** Method, and whatever else tells it from the others. */
  variant: string;
  order: Order;
  runs: RunData[];
}

export interface Order {
  name: string;
  /** As planned, or as far as it is known. */
  tasks: string[];
}

type Config = Readonly<Record<string, unknown>>;

/** Options that tell no variant from another: results do not depend on them, or they have a place of their own. */
const apart = new Set([...Object.keys(runtimeOptions.shape), "method", "preset", "seed", "order"]);

/** Groups runs by variant and order, in the order in which they were found. */
export function groupRuns(runs: readonly RunData[], bench: Bench | null): VariantRuns[] {
  const groups: VariantRuns[] = [];
  const known = runs.map(orderOf);
  const labels = bench ? new Map<string, string>() : variantLabels(runs.map(({ config }) => config));
  for (const run of runs) {
    const cell = bench?.cells.find((each) => each.run === run.name);
    const variant = cell?.variant ?? labels.get(variantKey(run.config))!;
    const order = cell ? benchOrder(bench!, cell.order) : longest(orderOf(run), known);
    const group = groups.find((each) => each.variant === variant && isSameOrder(each.order, order));
    if (group) group.runs.push(run);
    else groups.push({ variant, order, runs: [run] });
  }
  return groups;
}

function benchOrder(bench: Bench, name: string): Order {
  const order = bench.orders.find((each) => each.name === name);
  return { name: `order ${name}`, tasks: order?.tasks ?? [] };
}

/** Of a run that was begun from a plan, the plan; else the tasks so far, which may become more. */
function orderOf({ config, tasks }: RunData): Order {
  const { order } = config;
  if (typeof order === "string" && Object.hasOwn(taskOrders, order)) {
    const planned = taskOrders[order]!;
    return { name: `order ${order}`, tasks: tasks.length > planned.length ? tasks : [...planned] };
  }
  const listed = Array.isArray(order) ? order.map(String) : typeof order === "string" ? order.split(",") : [];
  const all = listed.length > tasks.length ? listed.map((task) => task.trim()) : tasks;
  return { name: all.join(", "), tasks: all };
}

/** Of a run under way nothing but its tasks so far may be known: it is taken to be on the way of another that begins so. */
function longest(order: Order, known: readonly Order[]): Order {
  const begins = known.filter(({ tasks }) => order.tasks.every((task, i) => tasks[i] === task));
  return begins.reduce((best, each) => (each.tasks.length > best.tasks.length ? each : best), order);
}

function isSameOrder(a: Order, b: Order): boolean {
  return a.name === b.name && a.tasks.join("\n") === b.tasks.join("\n");
}

const variantKey = (config: Config): string =>
  JSON.stringify(Object.entries(config).filter(([name]) => !apart.has(name) || name === "method"));

/** The method, with the preset and with those options in which variants of the same name differ. */
function variantLabels(configs: readonly Config[]): Map<string, string> {
  const distinct = new Map(configs.map((config) => [variantKey(config), config]));
  const named = new Map<string, Config[]>();
  for (const config of distinct.values()) {
    const name = shortName(config);
    named.set(name, [...(named.get(name) ?? []), config]);
  }
  const label = (config: Config): string => {
    const name = shortName(config);
    const same = named.get(name)!;
    const differing = [...new Set(same.flatMap((config) => Object.keys(config)))].filter(
      (option) => !apart.has(option) && new Set(same.map((each) => JSON.stringify(each[option]))).size > 1,
    );
    const values = differing.map((option) => `${option} ${shortValue(config[option])}`);
    return [name, ...values].join(", ");
  };
  return new Map([...distinct].map(([key, config]) => [key, label(config)]));
}

function shortName({ method, preset }: Config): string {
  const name = typeof method === "string" ? method : "unknown method";
  return typeof preset === "string" ? `${name} (${preset})` : name;
}

function shortValue(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "unset");
}
