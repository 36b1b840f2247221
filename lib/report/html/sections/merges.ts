import type { TaskMerge, TrainingFigures } from "../../figures/training.js";
import { lineChart } from "../charts/line-chart.js";
import { html, type Content } from "../html.js";
import { count, plural, threeDigits } from "../numbers.js";
import { details, figure, table } from "../parts.js";
import type { Context } from "./context.js";
import { marksOf, seedNote, stepLabel } from "./over-steps.js";

/** More points cannot be told apart, and more lines of a table are not read. */
const mostDrawn = 300;
const mostListed = 200;

/** When and how a method merged that decides both as it goes. */
export function mergesSection({ figures, nameOf }: Context): Content {
  const merged = figures.variants.filter(({ training }) => training.merges.length > 0);
  if (merged.length === 0) return null;
  return html`<p>
      A merge ends a cycle: the parameters become those the cycle began with, plus the task vector of the new
      task's records and that of the memory, with one weight each. The interval is how many steps the cycle
      was planned to have on the task's records, and had on the memory.
    </p>
    ${merged.map((each, i) => [
      html`<h3>${nameOf(each)}${seedNote(each)}</h3>`,
      intervals(each.training, `merge-intervals-${i}`, nameOf(each)),
      weights(each.training, `merge-weights-${i}`, nameOf(each)),
      everyMerge(each.training.merges, nameOf(each)),
    ])}`;
}

function intervals(training: TrainingFigures, id: string, name: string): Content {
  const { merges, steps } = training;
  const all = merges.map(({ interval }) => interval);
  return figure({
    id,
    caption: `Interval of ${name} at each merge${drawnOf(merges)}.`,
    picture: lineChart({
      id,
      title: `Interval at each merge, ${name}`,
      description: `${plural(merges.length, "merge")}, intervals from ${least(all)} to ${most(all)} steps, at last ${all.at(-1)}.`,
      lines: [{ name: "interval", style: 0, points: drawn(merges, "interval") }],
      x: { label: stepLabel, from: 0, to: steps, marks: marksOf(training) },
      y: { label: "steps", from: 0 },
      height: 230,
    }),
    table: {
      caption: `Intervals by task, ${name}`,
      head: ["task", "merges", "first", "last", "least", "most"],
      rows: byTask(training).map(({ task, merges: own }) => {
        const values = own.map(({ interval }) => interval);
        return [
          task,
          count(own.length),
          ...[values[0]!, values.at(-1)!, least(values), most(values)].map(count),
        ];
      }),
    },
  });
}

function weights(training: TrainingFigures, id: string, name: string): Content {
  const { merges, steps } = training;
  const meanOf = (of: readonly TaskMerge[], which: "weightIn" | "weightOut"): string =>
    threeDigits(of.reduce((sum, merge) => sum + merge[which], 0) / of.length);
  return figure({
    id,
    caption: `Weights of the two task vectors of ${name} at each merge${drawnOf(merges)}.`,
    picture: lineChart({
      id,
      title: `Weights at each merge, ${name}`,
      description: `On average the task's vector has the weight ${meanOf(merges, "weightIn")}, the memory's ${meanOf(merges, "weightOut")}.`,
      lines: [
        { name: "task", style: 0, points: drawn(merges, "weightIn") },
        { name: "memory", style: 1, points: drawn(merges, "weightOut") },
      ],
      x: { label: stepLabel, from: 0, to: steps, marks: marksOf(training) },
      y: { label: "weight", from: 0, to: 1 },
      height: 200,
    }),
    table: {
      caption: `Mean weights by task, ${name}`,
      head: ["task", "merges", "task's vector", "memory's vector"],
      rows: byTask(training).map(({ task, merges: own }) => [
        task,
        count(own.length),
        meanOf(own, "weightIn"),
        meanOf(own, "weightOut"),
      ]),
    },
  });
}

function everyMerge(merges: readonly TaskMerge[], name: string): Content {
  if (merges.length > mostListed) return html`<p>JSON and CSV list all ${count(merges.length)} merges.</p>`;
  return details(
    "Every merge",
    table({
      caption: `Merges of ${name}, by steps on the task's own records`,
      head: ["task", "step", "weight in", "weight out", "interval"],
      rows: merges.map(({ task, taskStep, weightIn, weightOut, interval }) => [
        task,
        count(taskStep),
        threeDigits(weightIn),
        threeDigits(weightOut),
        count(interval),
      ]),
    }),
  );
}

function byTask({ tasks, merges }: TrainingFigures): { task: string; merges: TaskMerge[] }[] {
  return tasks
    .map(({ task }) => ({ task, merges: merges.filter((merge) => merge.task === task) }))
    .filter((each) => each.merges.length > 0);
}

const drawnEvery = (merges: readonly TaskMerge[]): number => Math.ceil(merges.length / mostDrawn);

function drawn(
  merges: readonly TaskMerge[],
  which: "interval" | "weightIn" | "weightOut",
): [step: number, value: number][] {
  return merges.filter((_, i) => i % drawnEvery(merges) === 0).map((merge) => [merge.step, merge[which]]);
}

function drawnOf(merges: readonly TaskMerge[]): string {
  const every = drawnEvery(merges);
  return every === 1 ? "" : `; one of ${every} is drawn`;
}

const least = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b));
const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b));
