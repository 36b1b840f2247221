import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { continualMetrics, type BenchResults, type MatrixReport } from "../../../lib/index.js";
import { formatScore, renderTable, type TableFormat } from "../../../lib/report/table.js";

/** Forgetting over time: OP over the tasks learned so far, after each task, for every finished run. */
export async function curvesText(results: BenchResults, out: string, format: TableFormat): Promise<string> {
  const done = results.cells.filter(({ state }) => state === "done");
  const tables: string[] = [];
  for (const order of new Set(done.map((cell) => cell.order))) {
    const rows: string[][] = [];
    let tasks: readonly string[] = [];
    for (const cell of done.filter((each) => each.order === order)) {
      const matrix = JSON.parse(await readFile(join(out, cell.run, "matrix.json"), "utf8")) as MatrixReport;
      tasks = matrix.tasks;
      const curve = matrix.tasks.map((_, i) => continualMetrics(matrix.R.slice(0, i + 1)).OP);
      rows.push([`${cell.variant}, seed ${cell.seed}`, ...curve.map(formatScore)]);
    }
    tables.push(renderTable([`order ${order}: OP after`, ...tasks], rows, format));
  }
  return tables.join("\n\n");
}
