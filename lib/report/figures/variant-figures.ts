import { continualMetrics, mean } from "../../evaluation/metrics.js";
import type { TaskAnswers } from "../data/answers.js";
import type { RunData } from "../data/read-run.js";
import { spread } from "../tables.js";
import type { Measure, MeasuredRuns, Row, VariantFigures } from "./figures.js";
import { joinMasks } from "./masks.js";
import type { VariantRuns } from "./variants.js";

export const seedOf = ({ config }: RunData): number | null =>
  typeof config["seed"] === "number" ? config["seed"] : null;

/** The runs that have learned most tasks: the others are under way, and their figures are of fewer tasks. */
export function furthest(runs: readonly RunData[]): RunData[] {
  const most = Math.max(0, ...runs.map(({ learned }) => learned));
  return runs.filter(({ learned }) => learned === most);
}

export function measuresOf({ R, baseline }: RunData): Record<Measure, number | null> {
  const { OP, BWT, FWT } = continualMetrics(R, baseline);
  return { OP, BWT, FWT, learnedInTurn: mean(R.map((row, j) => row[j] ?? null)) };
}

/** Measures over runs that have learned as many tasks. */
export function measureRuns(runs: readonly RunData[]): MeasuredRuns {
  const measured = runs.map(measuresOf);
  const over = (name: Measure): ReturnType<typeof spread> => spread(measured.map((each) => each[name]));
  return {
    runs: runs.length,
    learned: runs[0]?.learned ?? 0,
    ...{ OP: over("OP"), BWT: over("BWT"), FWT: over("FWT"), learnedInTurn: over("learnedInTurn") },
  };
}

export function variantFigures({ variant, order, runs: all }: VariantRuns): VariantFigures {
  const runs = furthest(all);
  const first = runs[0]!;
  const entries = (of: (values: Row) => number | null): Row[] =>
    first.R.map((row, i) => row.map((_, j) => of(runs.map(({ R }) => R[i]?.[j] ?? null))));
  const accuracy = entries((values) => spread(values).mean);
  return {
    variant,
    order: order.name,
    tasks: order.tasks,
    learned: first.learned,
    seeds: runs.flatMap((run) => seedOf(run) ?? []),
    accuracy,
    accuracyDeviation: entries((values) => spread(values).deviation),
    seenMean: accuracy.map((row, i) => mean(row.slice(0, i + 1))),
    forgetting: continualMetrics(accuracy).forgetting,
    training: first.training,
    trainingSeed: seedOf(first),
    masks: joinMasks(runs.map(({ masks }) => masks)),
    answers: joinAnswers(runs),
  };
}

function joinAnswers(runs: readonly RunData[]): TaskAnswers[] {
  return runs[0]!.answers.map((first) => {
    const same = runs.flatMap(({ answers }) => answers.filter(({ task }) => task === first.task));
    const sum = (of: (answers: TaskAnswers) => number): number =>
      same.reduce((total, each) => total + of(each), 0);
    return {
      task: first.task,
      records: sum(({ records }) => records),
      kept: first.kept === null ? null : sum(({ kept }) => kept ?? 0),
      lost: first.lost === null ? null : sum(({ lost }) => lost ?? 0),
      gained: first.gained === null ? null : sum(({ gained }) => gained ?? 0),
      examples: first.examples,
      belongs: {
        right: sum(({ belongs }) => belongs.right),
        own: sum(({ belongs }) => belongs.own),
        others: first.belongs.others.map((_, task) => sum(({ belongs }) => belongs.others[task] ?? 0)),
        none: sum(({ belongs }) => belongs.none),
      },
    };
  });
}
