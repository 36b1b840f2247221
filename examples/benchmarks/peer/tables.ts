/** Tables over the measurements. */
import { renderTable } from "../../../lib/report/table.js";
import type { ModelName } from "./checkpoints.js";
import { perRecord, type EvaluationResult } from "./evaluation.js";
import type { CyclesResult } from "./cycles.js";
import type { MemoryResult, Peaks } from "./memory.js";
import type { MethodResults } from "./method.js";
import type { RunAnswer, RunEvaluation, Type, Way } from "./protocol.js";
import { median, pairedRatio, type Ratio } from "./ratios.js";
import type { ProfileResult } from "./profile.js";
import type { RunResult } from "./run.js";
import type { StartupResult } from "./startup.js";
import { tokensPerSecond, type AloneResult, type StepResult } from "./step.js";
import { describeWay, type Trial } from "./ways.js";

/** Everything measured of one model in one type. */
export interface Measured {
  model: ModelName;
  type: Type;
  /** Records of a training step. */
  batchSize: number;
  /** null: none of the peer's works, as `trials` say. */
  way: Way | null;
  trials: Trial[];
  step?: StepResult;
  /** Instead of `step`, where the peer does not work. */
  alone?: AloneResult;
  evaluation?: EvaluationResult;
  memory?: MemoryResult;
  startup?: StartupResult;
  profile?: ProfileResult;
  method?: MethodResults;
  run?: RunResult;
  cycles?: CyclesResult;
}

/** "2.51 (2.40-2.63)": the median, the least and the most over the rounds. */
export function formatRatio({ median, min, max }: Ratio): string {
  return `${median.toFixed(2)} (${min.toFixed(2)}-${max.toFixed(2)})`;
}

/** A GPU's steps are short. */
const formatSeconds = (seconds: number): string => seconds.toFixed(seconds < 0.1 ? 4 : 3);

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
  const head = [
    ...["training step", "here, s", "peer, s", "ratio", "here, tokens/s", "peer, tokens/s"],
    ...["peer's way", "loss differs by"],
  ];
  return table(head, results, (measured) => {
    const { step, alone, way, batchSize } = measured;
    const name = `${label(measured)}, batch ${batchSize}`;
    if (alone) {
      const speed = tokensPerSecond(alone.tokens, alone.here).toFixed(0);
      return [[name, formatSeconds(median(alone.here)), "-", "-", speed, "-", "does not work", "-"]];
    }
    return (
      step && [
        [
          name,
          formatSeconds(median(step.here)),
          formatSeconds(median(step.peer)),
          formatRatio(step.ratio),
          tokensPerSecond(step.tokens, step.here).toFixed(0),
          tokensPerSecond(step.tokens, step.peer).toFixed(0),
          `${describeWay(way!)}, ${step.attention} attention`,
          step.agreement.lossDifference.toExponential(1) + (step.agreement.within ? "" : ", THEY DISAGREE"),
        ],
      ]
    );
  });
}

export function profileTable(results: readonly Measured[]): string {
  const head = ["a training step's time here", "ms", "share"];
  return table(head, results, (measured) => {
    const { profile } = measured;
    return (
      profile &&
      Object.entries(profile.kinds)
        .sort(([, a], [, b]) => b - a)
        .map(([kind, seconds]) => [
          ...[`${label(measured)}, ${kind}`, (1000 * seconds).toFixed(1)],
          `${((100 * seconds) / profile.seconds).toFixed(1)} %`,
        ])
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
    const shared = evaluation.sharedTokens === 0 ? "" : ` (${evaluation.sharedTokens} tokens shared)`;
    const row = (what: string, own: number[], peer: number[], ratio: Ratio, same: string): string[] => [
      ...[`${label(measured)}${shared}, ${what}`, ms(own), ms(peer), formatRatio(ratio), way, same],
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
    const row = (what: string, { here, peer }: Omit<Peaks, "reserved">): string[] => [
      ...[`${label(measured)}, ${what}`, (here / 2 ** 30).toFixed(2), (peer / 2 ** 30).toFixed(2)],
      (here / peer).toFixed(2),
    ];
    const rows = (what: string, peaks: Peaks): string[][] =>
      peaks.reserved === undefined
        ? [row(what, peaks)]
        : [row(`${what}, in tensors`, peaks), row(`${what}, taken from the card`, peaks.reserved)];
    const { step, alone, memory } = measured;
    const own = alone?.memory ? [(alone.memory.allocated / 2 ** 30).toFixed(2), "-", "-"] : undefined;
    return [
      ...(own ? [[`${label(measured)}, batch ${measured.batchSize}, in tensors`, ...own]] : []),
      ...(step?.memory ? rows(`batch ${measured.batchSize}, the steps above`, step.memory) : []),
      ...(memory ? [...rows("training", memory.steps), ...rows("evaluation", memory.evaluation)] : []),
    ];
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

export function methodTable(results: readonly Measured[]): string {
  const head = [
    "method's own work in a cycle",
    "here, ms",
    "peer, ms",
    "ratio",
    "of a cycle",
    "peer's share",
  ];
  return table(head, results, (measured) =>
    measured.method?.sizes.map(({ elements, here, peer, ratio }, i) => {
      const { cycle } = measured.method!;
      // The long vector is not this model's: there is no cycle that it is a share of.
      const share = (seconds: number, of: number): string =>
        i === 0 ? `${((100 * seconds) / of).toFixed(3)} %` : "-";
      return [
        `${label(measured)}, ${(elements / 1e6).toFixed(2)} M elements`,
        ...[here, peer].map((seconds) => (1000 * median(seconds)).toFixed(2)),
        ...[formatRatio(ratio), share(median(here), cycle.here), share(median(peer), cycle.peer)],
      ];
    }),
  );
}

export function runTable(results: readonly Measured[]): string {
  const head = ["whole run", "here, s", "peer, s", "ratio", "steps", "cycles", "loss differs by"];
  return table(head, results, (measured) => {
    const { run } = measured;
    if (run === undefined) return undefined;
    const row = (
      what: string,
      part: (answer: RunAnswer) => number,
      answers: readonly RunAnswer[],
      rest: string[] = ["", "", ""],
    ): string[] => {
      const [here, peer] = [run.here.map(part), answers.map(part)];
      return [
        `${label(measured)}, ${what}`,
        ...[here, peer].map((seconds) => median(seconds).toFixed(2)),
        formatRatio(pairedRatio(peer, here)),
        ...rest,
      ];
    };
    const { steps, cycles } = run.here[0]!;
    const did = [String(steps), String(cycles), run.lossDifference.toExponential(1)];
    // The other parts are the same seconds whatever the way to evaluate.
    const { answers } = run.peers[0]!;
    return [
      ...run.peers.map((peer) =>
        row(`end to end, ${evaluates[peer.evaluation]}`, ({ seconds }) => seconds.total, peer.answers, did),
      ),
      row("training", ({ seconds }) => seconds.training, answers),
      row("method", ({ seconds }) => seconds.method, answers),
      ...run.peers.map((peer) =>
        row(`evaluation, ${evaluates[peer.evaluation]}`, ({ seconds }) => seconds.evaluation, peer.answers),
      ),
      row("loading and the rest", otherSeconds, answers),
    ];
  });
}

const evaluates: Record<RunEvaluation, string> = {
  published: "peer evaluates one by one",
  batched: "peer evaluates in batches",
};

function otherSeconds({ seconds: { total, training, method, evaluation } }: RunAnswer): number {
  return total - training - method - evaluation;
}

export function cyclesTable(results: readonly Measured[]): string {
  const head = ["cycle after learned tasks", "tasks", "memory records", "s", "to the first"];
  return table(head, results, (measured) =>
    measured.cycles?.learned.map((count, i) => {
      const { seconds, memory, toFirst } = measured.cycles!;
      return [
        ...[label(measured), String(count), String(memory[i]), median(seconds[i]!).toFixed(3)],
        toFirst[i]!.toFixed(3),
      ];
    }),
  );
}
