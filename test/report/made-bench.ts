import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makeRun, type MadeRun } from "./made-run.js";

export interface MadeBench extends Pick<MadeRun, "layers" | "records" | "steps"> {
  tasks: string[];
  variants: string[];
  /** The tasks, each time begun with another one. */
  orders: number;
  seeds: number[];
  /** Runs of cells that failed, and that were not begun. */
  failed?: string;
  waiting?: string;
}

/** Writes a bench folder, its runs made by {@link makeRun}. */
export async function makeBench(folder: string, bench: MadeBench): Promise<string> {
  const { tasks, variants, seeds, failed, waiting, ...made } = bench;
  const orders = Array.from({ length: bench.orders }, (_, i) => ({
    name: String(i + 1),
    tasks: [...tasks.slice(i), ...tasks.slice(0, i)],
  }));
  const cells = variants.flatMap((variant) =>
    orders.flatMap((order) =>
      seeds.map((seed) => ({
        ...{ variant, order: order.name, seed },
        run: `runs/${variant}/order-${order.name}/seed-${seed}`,
      })),
    ),
  );
  const states = [];
  for (const { order, seed, run } of cells) {
    if (run === failed)
      states.push({ run, state: "failed", failure: { code: "NATIVE", message: "it broke" } });
    if (run === failed || run === waiting) continue;
    const { tasks } = orders.find(({ name }) => name === order)!;
    await makeRun(join(folder, run), { tasks, seed, ...made });
    const timing = { trainSeconds: 12, evaluateSeconds: 3 };
    await writeFile(join(folder, run, "cell.json"), JSON.stringify({ state: "done", timing }));
    states.push({ run, state: "done" });
  }
  await mkdir(folder, { recursive: true });
  const named = variants.map((name) => ({ name, method: "recurrent-kif", preset: null, options: {} }));
  const plan = {
    name: "made",
    benchmark: null,
    data: "data",
    orders,
    seeds,
    variants: named,
    options: {},
    cells,
  };
  await writeFile(join(folder, "bench.json"), JSON.stringify(plan));
  await writeFile(join(folder, "results.json"), JSON.stringify({ cells: states, variants: [] }));
  return folder;
}
