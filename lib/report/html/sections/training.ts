import type { Point, TrainingFigures } from "../../figures/training.js";
import { areaChart } from "../charts/area-chart.js";
import { lineChart } from "../charts/line-chart.js";
import { html, type Content } from "../html.js";
import { count, share, threeDigits } from "../numbers.js";
import { figure } from "../parts.js";
import type { Context } from "./context.js";
import { marksOf, seedNote, stepLabel } from "./over-steps.js";

const loopNames = ["task records", "memory"];
const loopName = (loop: number): string => loopNames[loop] ?? `loop ${loop}`;

/** Loss and importance over steps. */
export function trainingSection({ figures, nameOf }: Context): Content {
  const trained = figures.variants.filter(({ training }) => training.steps > 0);
  if (trained.length === 0) return null;
  return html`<p>
      Neighbouring steps are drawn as their mean. Every dashed upright line is where a task begins. Where a
      variant has several runs, the first is shown.
    </p>
    ${trained.map((each, i) => [
      html`<h3>${nameOf(each)}${seedNote(each)}</h3>`,
      losses(each.training, `loss-${i}`, nameOf(each)),
      importance(each.training, `importance-${i}`, nameOf(each)),
    ])}`;
}

/** Shares of the weights in the four cases of fusion. */
export function casesSection({ figures, nameOf }: Context): Content {
  const fused = figures.variants.filter(({ training }) => training.cases.length > 0);
  if (fused.length === 0) return null;
  return html`<p>
      Every cycle ends with a fusion of the inner and the outer loop's task vectors. Each weight falls in one
      of four cases: important to the new task only (inner mask), to the memory only (outer mask), to both, or
      to neither.
    </p>
    ${fused.map((each, i) => [
      html`<h3>${nameOf(each)}${seedNote(each)}</h3>`,
      cases(each.training, `cases-${i}`, nameOf(each)),
    ])}`;
}

function losses(training: TrainingFigures, id: string, name: string): Content {
  const { tasks, steps } = training;
  const lines = training.losses.map(({ loop, points }) => ({ name: loopName(loop), style: loop, points }));
  return figure({
    id,
    caption: `Loss of ${name}: mean cross entropy over label tokens, before each update.`,
    picture: lineChart({
      id,
      title: `Loss over steps, ${name}`,
      description: tasks
        .map(
          ({ task, firstLoss, lastLoss }) =>
            `${task}: from ${threeDigits(firstLoss)} to ${threeDigits(lastLoss)}`,
        )
        .join("; "),
      lines,
      x: { label: stepLabel, from: 0, to: steps, marks: marksOf(training) },
      y: { label: "loss", from: 0 },
      height: 260,
    }),
    table: {
      caption: `Loss on the task's records by task, ${name}: means over the first and the last tenth of its steps`,
      head: ["task", "steps, all loops", "first loss", "last loss"],
      rows: tasks.map(({ task, from, to, firstLoss, lastLoss }) => [
        task,
        count(to - from),
        threeDigits(firstLoss),
        threeDigits(lastLoss),
      ]),
    },
  });
}

function importance(training: TrainingFigures, id: string, name: string): Content {
  const positive = (points: readonly Point[]): Point[] => points.filter(([, value]) => value > 0);
  const [inner, outer] = [positive(training.importance.inner), positive(training.importance.outer)];
  if (inner.length + outer.length === 0) return null;
  const lines = [
    { name: "inner loop", style: 0, points: inner },
    { name: "outer loop", style: 1, points: outer },
  ];
  const within = (points: readonly Point[], { from, to }: { from: number; to: number }): Point[] =>
    points.filter(([step]) => step > from && step <= to);
  const firstAndLast = (points: readonly Point[]): string[] => [
    threeDigits(points[0]?.[1]),
    threeDigits(points.at(-1)?.[1]),
  ];
  const rows = training.tasks.map((task) => ({
    task: task.task,
    figures: [...firstAndLast(within(inner, task)), ...firstAndLast(within(outer, task))],
  }));
  return figure({
    id,
    caption: `Importance of ${name} at the end of the cycles: root mean square over all weights of the moving average of |weight × gradient|; logarithmic.`,
    picture: lineChart({
      id,
      title: `Importance over steps, ${name}`,
      description: `Inner loop: from ${firstAndLast(inner).join(" to ")}. Outer loop: from ${firstAndLast(outer).join(" to ")}.`,
      lines,
      x: { label: stepLabel, from: 0, to: training.steps, marks: marksOf(training) },
      y: { label: "importance", log: true },
      height: 230,
    }),
    table: {
      caption: `Importance at each task's first and last cycle, ${name}`,
      head: ["task", "inner, first", "inner, last", "outer, first", "outer, last"],
      rows: rows.map(({ task, figures }) => [task, ...figures]),
    },
  });
}

function cases(training: TrainingFigures, id: string, name: string): Content {
  const { cases: points, tasks, steps } = training;
  const values = (of: "onlyIn" | "onlyOut" | "both" | "neither"): number[] => points.map((each) => each[of]);
  const last = points.at(-1)!;
  return figure({
    id,
    caption: `Share of the weights in each case over the cycles of ${name}.`,
    picture: areaChart({
      id,
      title: `Fusion cases over the cycles, ${name}`,
      description: `At the end: in both masks ${share(last.both)} %, in the inner mask only ${share(last.onlyIn)} %, in the outer mask only ${share(last.onlyOut)} %, in neither ${share(last.neither)} %.`,
      areas: [
        { name: "both masks", values: values("both") },
        { name: "inner only", values: values("onlyIn") },
        { name: "outer only", values: values("onlyOut") },
        { name: "neither", values: values("neither") },
      ],
      steps: points.map(({ step }) => step),
      x: { label: stepLabel, to: steps },
      yLabel: "share of weights (%)",
    }),
    table: {
      caption: `Mean shares by task in percent, ${name}`,
      head: ["task", "cycles", "both masks", "inner only", "outer only", "neither"],
      rows: tasks.map(({ task, cycles, cases: mean }) => [
        task,
        count(cycles),
        ...[mean?.both, mean?.onlyIn, mean?.onlyOut, mean?.neither].map(share),
      ]),
    },
  });
}
