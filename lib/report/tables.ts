import { RkifError } from "../errors.js";
import { continualMetrics, type AccuracyMatrix, type ContinualMetrics } from "../evaluation/metrics.js";
import { formatScore, renderTable, type TableFormat } from "./table.js";

export interface MatrixReport {
  /** In the order they are learned. */
  tasks: readonly string[];
  R: AccuracyMatrix;
  /** The untrained model's results; with them the table gets a first row. */
  baseline?: readonly (number | null)[] | null;
}

/** The accuracy matrix, a row after every task, with OP, BWT and FWT in a line below. */
export function matrixTable({ tasks, R, baseline }: MatrixReport, format: TableFormat = "text"): string {
  if (R.length > tasks.length) {
    throw new RkifError("INVALID_ARGUMENT", `the matrix has ${R.length} rows for ${tasks.length} tasks`);
  }
  const row = (name: string, values: readonly (number | null)[]): string[] => [
    name,
    ...tasks.map((_, j) => formatScore(values[j])),
  ];
  const rows = R.map((values, i) => row(`after ${tasks[i]}`, values));
  if (baseline) rows.unshift(row("untrained", baseline));
  const table = renderTable(["accuracy (%)", ...tasks], rows, format);
  const { OP, BWT, FWT } = continualMetrics(R, baseline);
  const summary = `OP ${formatScore(OP)}   BWT ${formatScore(BWT)}   FWT ${formatScore(FWT)}`;
  return `${table}\n${format === "markdown" ? "\n" : ""}${summary}`;
}

export interface MethodResults {
  name: string;
  /** One entry a seed. */
  runs: readonly Pick<ContinualMetrics, "OP" | "BWT" | "FWT">[];
}

/**
 * Methods under each other, each measure as mean ± standard deviation over the seeds. A measure that no run has (forward
 * transfer needs results of the untrained model) gets no column.
 */
export function comparisonTable(methods: readonly MethodResults[], format: TableFormat = "text"): string {
  const measures = (["OP", "BWT", "FWT"] as const).filter((measure) =>
    methods.some(({ runs }) => runs.some((run) => run[measure] !== null)),
  );
  const rows = methods.map(({ name, runs }) => [
    name,
    ...measures.map((measure) => formatSpread(runs.map((run) => run[measure]))),
    String(runs.length),
  ]);
  return renderTable(["method", ...measures, "seeds"], rows, format);
}

/**
 * Mean and sample standard deviation (n - 1); the deviation is null for a single value. Both are null where a value was not
 * measured, or where there is none.
 */
export function spread(values: readonly (number | null)[]): {
  mean: number | null;
  deviation: number | null;
} {
  const measured = values.filter((value) => value !== null);
  const n = values.length;
  if (n === 0 || measured.length < n) return { mean: null, deviation: null };
  const mean = measured.reduce((sum, value) => sum + value, 0) / n;
  if (n === 1) return { mean, deviation: null };
  const squares = measured.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (n - 1)) };
}

/** Mean ± standard deviation over seeds, as {@link spread} gives them. */
export function formatSpread(values: readonly (number | null)[]): string {
  const { mean, deviation } = spread(values);
  return deviation === null ? formatScore(mean) : `${formatScore(mean)} ± ${formatScore(deviation)}`;
}
