import type { VariantFigures } from "../../figures/figures.js";
import { lineChart } from "../charts/line-chart.js";
import { sparkLine } from "../charts/spark-line.js";
import { html, type Content } from "../html.js";
import { missing, percent } from "../numbers.js";
import { figure, table } from "../parts.js";
import type { Context } from "./context.js";

/** What became of the tasks while others were learned. */
export function forgettingSection({ figures, styleOf }: Context): Content {
  const measured = figures.variants.filter(({ learned }) => learned > 0);
  const orders = [...new Set(measured.map(({ order }) => order))];
  if (orders.length === 0) return null;
  return orders.map((order, i) => {
    const same = measured.filter((each) => each.order === order);
    return [
      orders.length > 1 && html`<h3>${order}</h3>`,
      seenTasks(same, `forgetting-${i}`, styleOf),
      everyTask(same),
    ];
  });
}

function seenTasks(
  same: readonly VariantFigures[],
  id: string,
  styleOf: (variant: string) => number,
): Content {
  const { tasks } = longest(same);
  return figure({
    id,
    caption:
      "Mean result on the tasks learned so far, after every task. A method that forgets nothing stays where its tasks began.",
    picture: lineChart({
      id,
      title: "Mean result on the tasks learned so far",
      description: same
        .map(
          ({ variant, seenMean }) =>
            `${variant}: from ${percent(seenMean[0])} to ${percent(seenMean.at(-1))}`,
        )
        .join("; "),
      lines: same.map(({ variant, seenMean }) => ({
        name: variant,
        style: styleOf(variant),
        points: seenMean.flatMap((value, x) => (value === null ? [] : [[x, value] as const])),
      })),
      x: { label: "after learning", names: tasks },
      y: { label: "mean accuracy (%)", from: 0, to: 100 },
    }),
    table: {
      caption: "Mean result on the tasks learned so far, in percent",
      head: ["after", ...same.map(({ variant }) => variant)],
      rows: tasks.map((task, i) => [task, ...same.map(({ seenMean }) => percent(seenMean[i]))]),
    },
  });
}

function everyTask(same: readonly VariantFigures[]): Content {
  const { tasks, learned } = longest(same);
  const width = same.length === 1 ? 360 : same.length <= 4 ? 190 : 110;
  return table({
    caption:
      "Every task over time: the line runs from the task's own turn to the last task learned, between 0 and 100 %; below it, the result in turn and now",
    head: ["task", ...same.map(({ variant }) => variant)],
    rows: tasks.slice(0, learned).map((task, j) => [
      task,
      ...same.map(({ variant, accuracy, learned: rows }) => {
        if (j >= rows) return missing;
        const values = Array.from({ length: learned }, (_, i) => (i < j ? null : (accuracy[i]?.[j] ?? null)));
        const [first, last] = [percent(values[j]), percent(accuracy.at(-1)?.[j])];
        const label = `${task}, ${variant}: ${values.slice(j, rows).map(percent).join(", ")} %`;
        return html`${sparkLine(values, label, width)}<br />${first} → ${last}`;
      }),
    ]),
  });
}

function longest(same: readonly VariantFigures[]): VariantFigures {
  return same.reduce((best, each) => (each.learned > best.learned ? each : best));
}
