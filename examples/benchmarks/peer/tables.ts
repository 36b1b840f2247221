/** Tables over the measurements. */
import { renderTable } from "../../../lib/report/table.js";
import type { ModelName } from "./checkpoints.js";
import { perRecord, type EvaluationResult } from "./evaluation.js";
import type { MemoryResult, Peaks } from "./memory.js";
import type { Type, Way } from "./protocol.js";
import { median, type Ratio } from "./ratios.js";
import type { StartupResult } from "./startup.js";
import type { StepResult } from "./step.js";
import { describeWay, type Trial } from "./ways.js";

/** Everything measured of one model in one type. */
export interface Measured {
  model: ModelName;
  type: Type;
  way: Way;
  trials: Trial[];
  step?: StepResult;
  evaluation?: EvaluationResult;
  memory?: MemoryResult;
  startup?: StartupResult;
}

/** "2.51 (2.40-2.63)": the median, the least and the most over the rounds. */
export function formatRatio({ median, min, max }: Ratio): string {
  return `${median.toFixed(2)} (${min.toFixed(2)}-${max.toFixed(2)})`;
}

const label = ({ model, type }: Measured): string => `${model} ${type}`;

function table(
  head: readonly string[],
  results: readonly Measured[],
  rowsOf: (measured: Measured) => string[][] | undefined,
): string {
  return renderTable(
    head,
    results.flatMap((measured) => rowsOf(measured) ?? []),
    "text",
  );
}

export function stepTable(results: readonly Measured[]): string {
  const head = ["training step", "here, s", "peer, s", "ratio", "peer's way", "loss differs by"];
  return table(head, results, (measured) => {
    const { step, way } = measured;
    return (
      step && [
        [
          label(measured),
          median(step.here).toFixed(3),
          median(step.peer).toFixed(3),
          formatRatio(step.ratio),
          describeWay(way),
          step.agreement.lossDifference.toExponential(1),
        ],
      ]
    );
  });
}

export function evaluationTable(results: readonly Measured[]): string {
  const head = ["evaluation, ms a record", "here", "peer", "ratio", "peer's way", "equal answers"];
  return table(head, results, (measured) => {
    const { evaluation } = measured;
    if (evaluation === undefined) return undefined;
    const { here, scored, oneByOne, batched, equal } = evaluation;
    const ms = (seconds: readonly number[]): string => (1000 * perRecord(seconds, evaluation)).toFixed(1);
    const way = describeWay(evaluation.way);
    const share = `${(100 * equal).toFixed(0)} %`;
    const row = (what: string, own: number[], peer: number[], ratio: Ratio, same: string): string[] => [
      ...[`${label(measured)}, ${what}`, ms(own), ms(peer), formatRatio(ratio), way, same],
    ];
    return [
      row("generated, peer one by one", here, oneByOne, evaluation.toOneByOne, share),
      row("generated, peer in batches", here, batched, evaluation.toBatched, share),
      row("scored, peer generates one by one", scored, oneByOne, evaluation.scoredToOneByOne, "-"),
    ];
  });
}

export function memoryTable(results: readonly Measured[]): string {
  const head = ["peak memory, GiB", "here", "peer", "here / peer"];
  return table(head, results, (measured) => {
    const { memory } = measured;
    const row = (what: string, { here, peer }: Peaks): string[] => [
      ...[`${label(measured)}, ${what}`, (here / 2 ** 30).toFixed(2), (peer / 2 ** 30).toFixed(2)],
      (here / peer).toFixed(2),
    ];
    return memory && [row("training", memory.steps), row("evaluation", memory.evaluation)];
  });
}

export function startupTable(results: readonly Measured[]): string {
  const head = ["process start to first loss", "here, s", "peer, s", "ratio"];
  return table(head, results, (measured) => {
    const { startup } = measured;
    return (
      startup && [
        [
          label(measured),
          median(startup.here).toFixed(2),
          median(startup.peer).toFixed(2),
          formatRatio(startup.ratio),
        ],
      ]
    );
  });
}
