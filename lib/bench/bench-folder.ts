import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { RkifError } from "../errors.js";
import { configDifferences, resolveConfig, splitConfig } from "../training/config.js";
import { RunFolder, readJson, writeJson } from "../training/run-folder.js";
import type { BenchResults } from "./results.js";
import { describeCell, type BenchPlan, type Cell, type PlannedCell } from "./plan.js";

/** What came out of a cell. */
export interface CellResult {
  readonly state: "done";
  readonly OP: number | null;
  readonly BWT: number | null;
  readonly FWT: number | null;
  /** Mean of R[j][j]: how well each task was learned when it was its turn. */
  readonly learnedInTurn: number | null;
  /** Optimizer steps, those of them that were skipped as not finite, and tokens that gradients were computed on. */
  readonly steps: number;
  readonly skipped: number;
  readonly tokens: number;
  /** Wall clock: the one thing that differs between two benches of the same plan. */
  readonly timing: { readonly trainSeconds: number; readonly evaluateSeconds: number };
}

/** Why a cell came to nothing, and where. It is tried again when the bench is called again. */
export interface CellFailure {
  readonly state: "failed";
  readonly code: string;
  readonly message: string;
  /** The task that was being learned. */
  readonly task: string | null;
}

export type CellOutcome = CellResult | CellFailure;

/**
 * The files of a bench. All are replaced as a whole.
 *
 *     bench.json                              variants, orders, seeds, shared options, and the cells with their folders
 *     results.json                            every cell's state and the figures of every variant, after each cell
 *     runs/VARIANT/order-ORDER/seed-SEED/     a run folder for each cell, and in it:
 *         cell.json                           the cell's outcome
 */
export class BenchFolder {
  readonly path: string;
  readonly #lock: RunFolder;
  #kept: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.path = path;
    this.#lock = new RunFolder(path);
  }

  /** Makes the folder and takes it for this process. @throws {RkifError} RUN_CONFLICT while another process works on it. */
  open(): Promise<void> {
    return this.#lock.open();
  }

  close(): Promise<void> {
    return this.#lock.close();
  }

  run(cell: Cell): string {
    return join(this.path, cell.run);
  }

  /**
   * Takes up a plan: that of a new bench, or one under which the cells that are there already would have come out the same.
   * @throws {RkifError} RUN_CONFLICT naming the first cell that was run with other options, and these.
   */
  async takeUp(plan: BenchPlan): Promise<void> {
    const file = join(this.path, "bench.json");
    const kept = await ifThere(file, () => readJson<{ evaluateOn: string }>(file));
    if (kept && kept.evaluateOn !== plan.evaluateOn) {
      throw new RkifError(
        "RUN_CONFLICT",
        `${this.path} holds a bench evaluated on ${kept.evaluateOn}, and ${plan.evaluateOn} is asked for; use another folder`,
      );
    }
    for (const cell of plan.cells) await this.#check(cell);
    const { tasks: _, cells, ...rest } = plan;
    const described = cells.map(({ variant, order, seed, run }) => ({ variant, order, seed, run }));
    await writeJson(file, { ...rest, cells: described });
  }

  /** Refuses a cell whose run was made with other options. */
  async #check(cell: PlannedCell): Promise<void> {
    const { config: file } = new RunFolder(this.run(cell));
    const kept = await ifThere(file, () => readJson<Record<string, unknown>>(file));
    if (!kept) return;
    const { learner, data } = splitConfig(kept);
    const given: Record<string, unknown> = { ...cell.data };
    const names = [
      ...configDifferences(resolveConfig(learner, file), resolveConfig(cell.config)),
      ...["order", "trainLimit", "devLimit", "testLimit"].filter(
        (name) => JSON.stringify(data[name]) !== JSON.stringify(given[name]),
      ),
    ];
    if (names.length === 0) return;
    throw new RkifError(
      "RUN_CONFLICT",
      `${this.run(cell)}: ${describeCell(cell)} was run with other options (${names.join(", ")}); use another folder for the bench, or the same options`,
    );
  }

  /** A cell's outcome; null where it has none yet. */
  async outcome(cell: Cell): Promise<CellOutcome | null> {
    const file = this.#outcomeFile(cell);
    return (await ifThere(file, () => readJson<CellOutcome>(file))) ?? null;
  }

  async keepOutcome(cell: Cell, outcome: CellOutcome): Promise<void> {
    await mkdir(this.run(cell), { recursive: true });
    await writeJson(this.#outcomeFile(cell), outcome);
  }

  /** Forgets a failure, before the cell is tried again. */
  async dropOutcome(cell: Cell): Promise<void> {
    await rm(this.#outcomeFile(cell), { force: true });
  }

  /** One after another: of several at once, the last stays. */
  keepResults(results: BenchResults): Promise<void> {
    this.#kept = this.#kept.then(() => writeJson(join(this.path, "results.json"), results));
    return this.#kept;
  }

  #outcomeFile(cell: Cell): string {
    return join(this.run(cell), "cell.json");
  }
}

async function ifThere<T>(file: string, read: () => Promise<T>): Promise<T | undefined> {
  try {
    await readFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
  }
  return read();
}
