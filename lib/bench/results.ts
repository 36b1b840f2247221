import { spread } from "../report/tables.js";
import type { CellFailure, CellOutcome, CellResult } from "./bench-folder.js";
import type { BenchPlan, Cell } from "./plan.js";

/** Mean and sample standard deviation; null where there is none. */
export type Spread = ReturnType<typeof spread>;

/** Where a cell stands; one that was interrupted waits as one that was not begun. */
export type CellState = Cell & State;

type State =
  | { readonly state: "waiting" }
  | { readonly state: "done"; readonly result: CellResult }
  | { readonly state: "failed"; readonly failure: CellFailure };

/** The figures of some cells of one variant, over those that are done. */
export interface Figures {
  readonly OP: Spread;
  readonly BWT: Spread;
  readonly learnedInTurn: Spread;
  /** Means of a cell. */
  readonly steps: number | null;
  readonly tokens: number | null;
  /** Wall clock, which differs from run to run. */
  readonly timing: { readonly seconds: number | null };
}

export interface VariantResults extends Figures {
  readonly variant: string;
  readonly cells: number;
  readonly done: number;
  readonly failed: number;
  readonly byOrder: readonly (Figures & { readonly order: string })[];
}

export interface BenchResults {
  readonly name: string;
  readonly variants: readonly VariantResults[];
  readonly cells: readonly CellState[];
}

/** The figures of a bench as far as it is. */
export function benchResults(plan: BenchPlan, outcomes: ReadonlyMap<Cell, CellOutcome>): BenchResults {
  const cells = plan.cells.map((cell): CellState => {
    const { variant, order, seed, run } = cell;
    return { variant, order, seed, run, ...stateOf(outcomes.get(cell)) };
  });
  const variants = plan.variants.map(({ name }): VariantResults => {
    const mine = cells.filter(({ variant }) => variant === name);
    return {
      variant: name,
      cells: mine.length,
      done: mine.filter(({ state }) => state === "done").length,
      failed: mine.filter(({ state }) => state === "failed").length,
      ...figures(mine),
      byOrder: plan.orders.map(({ name: order }) => ({
        order,
        ...figures(mine.filter((cell) => cell.order === order)),
      })),
    };
  });
  return { name: plan.name, variants, cells };
}

function stateOf(outcome: CellOutcome | undefined): State {
  if (outcome === undefined) return { state: "waiting" };
  return outcome.state === "done"
    ? { state: "done", result: outcome }
    : { state: "failed", failure: outcome };
}

function figures(cells: readonly CellState[]): Figures {
  const done = cells.flatMap((cell) => (cell.state === "done" ? [cell.result] : []));
  const of = (pick: (cell: CellResult) => number | null): Spread => spread(done.map(pick));
  return {
    OP: of(({ OP }) => OP),
    BWT: of(({ BWT }) => BWT),
    learnedInTurn: of(({ learnedInTurn }) => learnedInTurn),
    steps: of(({ steps }) => steps).mean,
    tokens: of(({ tokens }) => tokens).mean,
    timing: { seconds: of(({ timing }) => timing.trainSeconds + timing.evaluateSeconds).mean },
  };
}
