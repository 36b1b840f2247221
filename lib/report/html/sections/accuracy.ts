import type { VariantFigures } from "../../figures/figures.js";
import { heatTable } from "../charts/heat-table.js";
import { html, type Content } from "../html.js";
import { percent } from "../numbers.js";
import { seedsOf, type Context } from "./context.js";

/** The accuracy matrix of every variant. */
export function accuracySection({ figures, nameOf }: Context): Content {
  const measured = figures.variants.filter(({ learned }) => learned > 0);
  if (measured.length === 0) return null;
  return html`<p>
      A row after every task learned, a column for every task: the result in percent on its test records.
      Reading down a column shows what became of a task.
    </p>
    <div class="matrices">${measured.map((each) => matrix(each, nameOf(each)))}</div>`;
}

function matrix(figures: VariantFigures, name: string): Content {
  const { tasks, accuracy } = figures;
  return heatTable({
    caption: `${name}, ${seedsOf(figures)}`,
    corner: "accuracy (%)",
    columns: tasks,
    // Tasks learned together have a last row alone.
    rows: accuracy.flatMap((row, i) => {
      if (row.every((value) => value === null)) return [];
      const cells = tasks.map((_, j) => ({ value: row[j] ?? null, text: percent(row[j]) }));
      return [{ name: `after ${tasks[i]}`, cells }];
    }),
  });
}
