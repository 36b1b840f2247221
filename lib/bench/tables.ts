import { formatScore, renderTable, type TableFormat } from "../report/table.js";
import { describeCell } from "./plan.js";
import type { BenchResults, Spread } from "./results.js";

const footnote =
  "OP, BWT and learned in turn: mean ± standard deviation over orders and seeds. Tokens, steps and seconds: mean of a run. " +
  "* wall clock of training and evaluation, which differs from run to run.";

/** A row for every variant. */
export function benchTable({ variants }: BenchResults, format: TableFormat = "text"): string {
  const head = ["method", "OP", "BWT", "learned in turn", "tokens", "steps", "seconds *", "runs"];
  const rows = variants.map((variant) => [
    variant.variant,
    spreadText(variant.OP),
    spreadText(variant.BWT),
    spreadText(variant.learnedInTurn),
    countText(variant.tokens),
    countText(variant.steps),
    countText(variant.timing.seconds),
    `${variant.done}/${variant.cells}${variant.failed > 0 ? ` (${variant.failed} failed)` : ""}`,
  ]);
  return renderTable(head, rows, format);
}

/** OP of every variant on every order; undefined where there is one order only. */
export function orderTable({ variants }: BenchResults, format: TableFormat = "text"): string | undefined {
  const orders = variants[0]?.byOrder.map(({ order }) => order) ?? [];
  if (orders.length < 2) return undefined;
  const rows = variants.map(({ variant, byOrder, OP }) => [
    variant,
    ...byOrder.map((figures) => spreadText(figures.OP)),
    spreadText(OP),
  ]);
  return renderTable(["OP", ...orders.map((order) => `order ${order}`), "all"], rows, format);
}

/** The tables of a bench with what failed, for people. */
export function benchText(results: BenchResults, format: TableFormat = "text"): string {
  const byOrder = orderTable(results, format);
  const failures = results.cells.flatMap((cell) =>
    cell.state === "failed" ? [`${describeCell(cell)}: ${failureText(cell.failure)}`] : [],
  );
  return [
    benchTable(results, format),
    footnote,
    ...(byOrder === undefined ? [] : [byOrder]),
    ...(failures.length === 0 ? [] : [["Failed:", ...failures.map((line) => `- ${line}`)].join("\n")]),
  ].join(format === "markdown" ? "\n\n" : "\n");
}

/** What failed, and where. */
export function failureText({
  task,
  code,
  message,
}: {
  task: string | null;
  code: string;
  message: string;
}): string {
  return `${task === null ? "" : `at task ${task}: `}${message} (${code})`;
}

function spreadText({ mean, deviation }: Spread): string {
  return deviation === null ? formatScore(mean) : `${formatScore(mean)} ± ${formatScore(deviation)}`;
}

/** Whole numbers with spaces between thousands. */
function countText(value: number | null): string {
  return value === null
    ? "-"
    : Math.round(value)
        .toString()
        .replace(/\B(?=(\d{3})+$)/g, " ");
}
