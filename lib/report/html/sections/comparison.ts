import type { Comparison, ComparisonLine } from "../../figures/figures.js";
import { dotPlot } from "../charts/dot-plot.js";
import { html, type Content } from "../html.js";
import { count, meanAndDeviation, percent } from "../numbers.js";
import { scroll, table } from "../parts.js";
import type { Context } from "./context.js";

/** OP, BWT and what they cost, a line a variant. */
export function comparisonSection({ figures }: Context): Content {
  const { comparisons } = figures;
  return html`<p>
      <b>OP</b> is the mean result on all tasks after the last one, in percent. <b>BWT</b> is the mean change
      of the earlier tasks since each was learned: below zero, something was forgotten. <b>FWT</b> is the mean
      gain on a task before it is learned, over the untrained model. <b>Learned in turn</b> is the mean result
      on each task right after it was learned. ± is the standard deviation over runs. Steps of the optimizer,
      tokens and seconds are those of training.
    </p>
    ${comparisons.map((comparison, i) => oneComparison(comparison, i, comparisons.length > 1))}`;
}

function oneComparison(comparison: Comparison, index: number, several: boolean): Content {
  const { orders, lines, tasks } = comparison;
  const what = `${tasks} tasks, ${orders.length > 1 ? `orders: ${orders.map((order) => order.replace(/^order /, "")).join("; ")}` : orders[0]}`;
  const has = (of: (line: ComparisonLine) => unknown): boolean => lines.some((line) => of(line) !== null);
  const columns: [string, (line: ComparisonLine) => string][] = [
    ["OP", ({ OP }) => meanAndDeviation(OP)],
    ["BWT", ({ BWT }) => meanAndDeviation(BWT)],
  ];
  if (has(({ FWT }) => FWT.mean)) columns.push(["FWT", ({ FWT }) => meanAndDeviation(FWT)]);
  columns.push(["learned in turn", ({ learnedInTurn }) => meanAndDeviation(learnedInTurn)]);
  columns.push(["tasks learned", ({ learned }) => `${learned} of ${tasks}`]);
  columns.push(["runs", ({ runs }) => String(runs)]);
  columns.push(["steps", ({ steps }) => count(steps)]);
  if (lines.some(({ skipped }) => skipped)) columns.push(["skipped steps", ({ skipped }) => count(skipped)]);
  if (has(({ tokens }) => tokens)) columns.push(["tokens", ({ tokens }) => count(tokens)]);
  if (has(({ seconds }) => seconds)) columns.push(["seconds", ({ seconds }) => count(seconds)]);
  return [
    several && html`<h3>${what}</h3>`,
    table({
      caption: `Means over runs; ${what}`,
      head: ["method", ...columns.map(([name]) => name)],
      rows: lines.map((line) => [line.variant, ...columns.map(([, of]) => of(line))]),
    }),
    lines.length > 1 && plots(comparison, index),
    orders.length > 1 && byOrder(comparison),
  ];
}

function plots({ lines }: Comparison, index: number): Content {
  const lowest = Math.min(-10, ...lines.map(({ BWT }) => (BWT.mean ?? 0) - (BWT.deviation ?? 0)));
  const highest = Math.max(0, ...lines.map(({ BWT }) => (BWT.mean ?? 0) + (BWT.deviation ?? 0)));
  const plot = (measure: "OP" | "BWT", label: string, from: number, to: number): Content =>
    scroll(
      dotPlot({
        id: `comparison-${index}-${measure}`,
        title: `${measure} by method`,
        description: `${lines.map((line) => `${line.variant} ${percent(line[measure].mean)}`).join("; ")}. Deviations are in the table above.`,
        label,
        dots: lines.map((line) => ({ name: line.variant, ...line[measure] })),
        from,
        to,
      }),
    );
  const start = Math.max(-100, 10 * Math.floor(lowest / 10));
  return html`<figure class="pair">
    ${plot("OP", "OP (%), to the right is better", 0, 100)}
    ${plot("BWT", "BWT, to the right is better", start, 10 * Math.ceil(highest / 10))}
    <figcaption>
      The dot is the mean, the bar one standard deviation to both sides. Figures are in the table above.
    </figcaption>
  </figure>`;
}

function byOrder({ lines, orders }: Comparison): Content {
  const cell = ({ orders: own }: ComparisonLine, order: string, measure: "OP" | "BWT"): string => {
    const found = own.find((each) => each.order === order);
    return found ? meanAndDeviation(found[measure]) : "–";
  };
  return table({
    caption: "By order",
    head: ["method", ...orders.flatMap((order) => [`${order}: OP`, "BWT"])],
    rows: lines.map((line) => [
      line.variant,
      ...orders.flatMap((order) => [cell(line, order, "OP"), cell(line, order, "BWT")]),
    ]),
  });
}
