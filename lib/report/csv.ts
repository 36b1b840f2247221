import type { ReportFigures, VariantFigures } from "./figures/figures.js";

type Cell = string | number | null | undefined;

/** Every figure of a report as CSV files by name: a line of column names, then a line a value, for spreadsheets and plotting. */
export function figuresAsCsv(figures: ReportFigures): Map<string, string> {
  const files = new Map<string, string>();
  const add = (name: string, head: readonly string[], rows: readonly (readonly Cell[])[]): void => {
    if (rows.length > 0) files.set(`${name}.csv`, [head, ...rows].map(line).join(""));
  };
  const perVariant = (
    name: string,
    head: readonly string[],
    rows: (each: VariantFigures) => Cell[][],
  ): void =>
    add(
      name,
      ["method", "order", ...head],
      figures.variants.flatMap((each) => rows(each).map((row) => [each.variant, each.order, ...row])),
    );

  add(
    "comparison",
    ["method", "orders", "runs", "tasks_learned", "OP", "OP_deviation", "BWT", "BWT_deviation", "FWT", "FWT_deviation", "learned_in_turn", "steps", "tokens", "seconds"], // prettier-ignore
    figures.comparisons.flatMap(({ orders, lines }) =>
      lines.map(({ variant, runs, learned, OP, BWT, FWT, learnedInTurn, steps, tokens, seconds }) => [
        ...[variant, orders.join("; "), runs, learned],
        ...[OP, BWT, FWT].flatMap(({ mean, deviation }) => [mean, deviation]),
        ...[learnedInTurn.mean, steps, tokens, seconds],
      ]),
    ),
  );
  perVariant("accuracy", ["after", "task", "mean", "deviation"], ({ tasks, accuracy, accuracyDeviation }) =>
    accuracy.flatMap((row, i) =>
      row.map((value, j) => [tasks[i], tasks[j], value, accuracyDeviation[i]?.[j]]),
    ),
  );
  perVariant("seen-mean", ["after", "mean"], ({ tasks, seenMean }) =>
    seenMean.map((value, i) => [tasks[i], value]),
  );
  perVariant("forgetting", ["task", "forgetting"], ({ tasks, forgetting }) =>
    forgetting.map((value, i) => [tasks[i], value]),
  );
  perVariant("loss", ["loop", "step", "loss"], ({ training }) =>
    training.losses.flatMap(({ loop, points }) => points.map(([step, loss]) => [loop, step, loss])),
  );
  perVariant("importance", ["loop", "step", "importance"], ({ training: { importance } }) =>
    (["inner", "outer"] as const).flatMap((loop) =>
      importance[loop].map(([step, value]) => [loop, step, value]),
    ),
  );
  perVariant("cases", ["step", "only_in", "only_out", "both", "neither"], ({ training }) =>
    training.cases.map(({ step, onlyIn, onlyOut, both, neither }) => [step, onlyIn, onlyOut, both, neither]),
  );
  perVariant(
    "merges",
    ["task", "step", "task_step", "weight_in", "weight_out", "interval"],
    ({ training: { merges } }) =>
      merges.map(({ task, step, taskStep, weightIn, weightOut, interval }) => [
        ...[task, step, taskStep, weightIn, weightOut, interval],
      ]),
  );
  perVariant(
    "masks",
    [
      "layer",
      "matrix",
      "weights",
      "only_in",
      "only_out",
      "both",
      "mean_importance_in",
      "mean_importance_out",
    ],
    ({ masks }) =>
      (masks?.places ?? []).map(({ elements, importanceIn, importanceOut, ...place }) => [
        ...[place.layer, place.matrix, elements, place.onlyIn, place.onlyOut, place.both],
        ...[importanceIn, importanceOut].map((sum) => (sum === null ? null : sum / elements)),
      ]),
  );
  perVariant("confusion", ["records_of", "belongs_to", "records"], ({ answers, tasks }) =>
    answers.flatMap(({ task, belongs: { right, own, others, none } }) => [
      [task, "(right)", right],
      [task, "(own label, wrong)", own],
      ...others.flatMap((counted, j) => (tasks[j] === task ? [] : [[task, tasks[j], counted]])),
      [task, "(no label)", none],
    ]),
  );
  perVariant("answers", ["task", "records", "kept", "lost", "gained"], ({ answers }) =>
    answers.map(({ task, records, kept, lost, gained }) => [task, records, kept, lost, gained]),
  );
  return files;
}

const line = (cells: readonly Cell[]): string => `${cells.map(quoted).join(",")}\r\n`;

/** As RFC 4180 has it. A text that a spreadsheet would take for a formula gets an apostrophe before it. */
function quoted(cell: Cell): string {
  if (cell === null || cell === undefined) return "";
  if (typeof cell === "number") return String(cell);
  const text = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
