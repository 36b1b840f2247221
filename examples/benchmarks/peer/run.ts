/** A whole Recurrent-KIF run on both sides: the tasks of order 4, all seen ones evaluated after each, from loading to the last answer. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { recurrentKif } from "../../../lib/methods/recurrent-kif.js";
import { resolveConfig } from "../../../lib/training/config.js";
import { tasksOfOrder, writeTasks, type TasksWanted } from "./made-tasks.js";
import {
  learningRate,
  type PeerRunAnswer,
  type RunAnswer,
  type RunEvaluation,
  type RunMethod,
  type RunRequest,
  type Way,
} from "./protocol.js";
import { pairedRatio, relativeDifference, type Ratio } from "./ratios.js";
import { loadRequest, type Setting } from "./setting.js";
import { Side } from "./side.js";
import { tolerances } from "./step.js";

export interface RunOptions extends TasksWanted {
  rounds: number;
  epochs: number;
  /** Of the peer; at least one. */
  evaluations: readonly RunEvaluation[];
}

export interface PeerRuns {
  evaluation: RunEvaluation;
  answers: RunAnswer[];
  /** End to end. */
  ratio: Ratio;
}

export interface RunResult {
  way: Way;
  here: RunAnswer[];
  /** For each way to evaluate. */
  peers: PeerRuns[];
  lossDifference: number;
}

/** The method's defaults, which are the paper's. */
export function methodOfPaper(): RunMethod {
  const { innerSteps, outerSteps, keepFraction, ...others } = recurrentKif.options.parse({});
  const { importanceDecay, uncertaintyDecay, outerLearningRate } = others;
  return { innerSteps, outerSteps, keepFraction, importanceDecay, uncertaintyDecay, outerLearningRate };
}

/** @throws an error where the two sides did not do the same. */
export async function measureRun(setting: Setting, way: Way, options: RunOptions): Promise<RunResult> {
  if (setting.checkpoint.family !== "t5") {
    throw new Error(
      `${setting.model}: a whole run is compared for T5 only; leave --only run or the model out`,
    );
  }
  const folder = await mkdtemp(join(tmpdir(), "rkif-benchmark-run-"));
  try {
    const tasks = join(folder, "tasks.json");
    await writeTasks(tasks, await tasksOfOrder(setting.checkpoint.folder, options));
    const found = { here: [] as RunAnswer[], peer: [] as PeerRunAnswer[] };
    const sides = [
      async (request: RunRequest): Promise<void> => {
        await using side = Side.here(setting.threads);
        found.here.push(await side.request<RunAnswer>(request));
      },
      async (request: RunRequest): Promise<void> => {
        await using side = Side.peer(setting.python, setting.threads);
        found.peer.push(await side.request<PeerRunAnswer>(request));
      },
    ] as const;
    const ofPeer = (evaluation: RunEvaluation): RunAnswer[] =>
      found.peer.map((answer) => answer[evaluation]!);
    for (let round = 0; round < options.rounds; round++) {
      const request = requestOf(setting, way, {
        ...{ tasks, run: join(folder, `run-${round}`), ...options },
      });
      for (const runOn of round % 2 === 0 ? sides : sides.toReversed()) await runOn(request);
      for (const evaluation of options.evaluations) {
        refuseDifferent(setting, found.here.at(-1)!, ofPeer(evaluation).at(-1)!);
      }
    }
    const totals = (answers: readonly RunAnswer[]): number[] => answers.map(({ seconds }) => seconds.total);
    const peers = options.evaluations.map((evaluation) => {
      const answers = ofPeer(evaluation);
      return { evaluation, answers, ratio: pairedRatio(totals(answers), totals(found.here)) };
    });
    const losses = [found.here[0]!.firstLoss, peers[0]!.answers[0]!.firstLoss] as const;
    return { way, here: found.here, peers, lossDifference: relativeDifference(...losses) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function requestOf(
  setting: Setting,
  way: Way,
  { tasks, run, epochs, evaluations }: Pick<RunRequest, "tasks" | "run" | "epochs" | "evaluations">,
): RunRequest {
  const { warmupSteps, memoryFraction, targetTokens } = resolveConfig({});
  const { batchSize, newTokens, evaluationBatch } = setting;
  return {
    ...{ ...loadRequest(setting, way), do: "run", way, tasks, run, epochs, batchSize, newTokens },
    ...{ evaluations, evaluationBatch, learningRate, warmupSteps, memoryFraction, targetTokens },
    // The default of T5.
    sourceTokens: 1024,
    method: methodOfPaper(),
  };
}

function refuseDifferent({ model, type }: Setting, here: RunAnswer, peer: RunAnswer): void {
  const did = ({ steps, cycles, memory, answered, finite }: RunAnswer): string =>
    `${steps} steps, ${cycles} cycles, ${memory.join("+")} memory records, ${answered} answers, ` +
    (finite ? "every loss finite" : "losses that are not finite");
  if (did(here) !== did(peer) || !here.finite) {
    throw new Error(
      `${model} ${type}: this side's run had ${did(here)}; the peer's had ${did(peer)}; expected the same, all finite`,
    );
  }
  const difference = relativeDifference(here.firstLoss, peer.firstLoss);
  if (difference <= tolerances[type].loss) return;
  throw new Error(
    `${model} ${type}: the loss of the first records is ${here.firstLoss} here and ${peer.firstLoss} of the peer; ` +
      `expected the same within ${tolerances[type].loss}`,
  );
}
