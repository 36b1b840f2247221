/** Training steps on both sides, in alternation, after a pass without dropout that must give the same losses. */
import { realTokens } from "./batches.js";
import type {
  CheckAnswer,
  CheckRequest,
  DeviceMemory,
  MemoryAnswer,
  StepsAnswer,
  StepsRequest,
  Type,
  Way,
} from "./protocol.js";
import { peaksOf, type Peaks } from "./memory.js";
import { median, pairedRatio, relativeDifference, type Ratio } from "./ratios.js";
import { alternate, batchOf, openHere, openPeer, type Setting } from "./setting.js";
import type { Side } from "./side.js";

/** Largest relative differences allowed. In bfloat16 the two round in different places: the weights of a layer, or also its products. */
export const tolerances: Record<Type, { loss: number; gradNorm: number }> = {
  float32: { loss: 1e-4, gradNorm: 1e-3 },
  bfloat16: { loss: 1e-2, gradNorm: 0.1 },
};

/** Loss and gradient norm of the same batch on both sides, without dropout. */
export interface Agreement {
  loss: number;
  peerLoss: number;
  gradNorm: number;
  peerGradNorm: number;
  lossDifference: number;
  gradNormDifference: number;
  /** Within {@link tolerances}. Where they are not, the two do not compute the same, and a ratio of their times says little. */
  within: boolean;
}

export interface StepResult {
  agreement: Agreement;
  /** What computes the peer's attention. */
  attention: string;
  /** Seconds of a step in every round. */
  here: number[];
  peer: number[];
  /** Tokens of a step in every round, without padding. */
  tokens: number[];
  ratio: Ratio;
  /** Of the two processes, all their steps and the compared pass together; on a GPU only. */
  memory: Peaks | null;
}

/** Seconds of an optimizer step, the mean over the steps of a round. */
export async function stepsOn(side: Side, setting: Setting, round: number): Promise<number> {
  const steps: StepsRequest = { do: "steps", batches: batchesOf(setting, round) };
  const { losses, seconds } = await side.request<StepsAnswer>(steps);
  if (losses.length === setting.steps && losses.every(Number.isFinite)) return seconds / setting.steps;
  throw new Error(
    `${setting.model} ${setting.type}: the losses of round ${round} are ${losses.join(", ")}; ` +
      `expected ${setting.steps} numbers`,
  );
}

function batchesOf(setting: Setting, round: number): StepsRequest["batches"] {
  return Array.from({ length: setting.steps }, (_, i) => batchOf(setting, round * setting.steps + i));
}

export async function measureStep(setting: Setting, way: Way): Promise<StepResult> {
  await using here = await openHere(setting);
  await using peer = await openPeer(setting, way);
  const { agreement, attention } = await compare(setting, here, peer);
  const seconds = await alternate(
    setting.rounds,
    (round) => stepsOn(here, setting, round),
    (round) => stepsOn(peer, setting, round),
  );
  const tokens = tokensOf(setting);
  const memory =
    setting.device === "cpu"
      ? null
      : peaksOf(
          await here.request<MemoryAnswer>({ do: "memory" }),
          await peer.request<MemoryAnswer>({ do: "memory" }),
        );
  return { agreement, attention, ...seconds, tokens, ratio: pairedRatio(seconds.peer, seconds.here), memory };
}

/** This side's steps where there are none of the peer's. */
export interface AloneResult {
  here: number[];
  tokens: number[];
  /** Of a GPU. */
  memory: DeviceMemory | null;
}

export async function measureAlone(setting: Setting): Promise<AloneResult> {
  await using here = await openHere(setting);
  const seconds: number[] = [];
  for (let round = 0; round <= setting.rounds; round++) {
    const found = await stepsOn(here, setting, round);
    // As in alternate(): round 0 warms up.
    if (round > 0) seconds.push(found);
  }
  const { device } = await here.request<MemoryAnswer>({ do: "memory" });
  return { here: seconds, tokens: tokensOf(setting), memory: device };
}

/** Of a step in every round, without padding. */
function tokensOf(setting: Setting): number[] {
  const { family } = setting.checkpoint;
  return Array.from({ length: setting.rounds }, (_, i) => {
    const counts = batchesOf(setting, i + 1).map((batch) => realTokens(batch, family));
    return counts.reduce((sum, count) => sum + count, 0) / setting.steps;
  });
}

/** Median over rounds. */
export function tokensPerSecond(tokens: readonly number[], seconds: readonly number[]): number {
  return median(tokens.map((count, round) => count / seconds[round]!));
}

async function compare(
  setting: Setting,
  here: Side,
  peer: Side,
): Promise<Pick<StepResult, "agreement" | "attention">> {
  const check: CheckRequest = { do: "check", batch: batchOf(setting, 0) };
  const found = await here.request<CheckAnswer>(check);
  const expected = await peer.request<CheckAnswer>(check);
  const lossDifference = relativeDifference(found.loss, expected.loss);
  const gradNormDifference = relativeDifference(found.gradNorm, expected.gradNorm);
  const allowed = tolerances[setting.type];
  const agreement = {
    ...{ loss: found.loss, peerLoss: expected.loss, lossDifference },
    ...{ gradNorm: found.gradNorm, peerGradNorm: expected.gradNorm, gradNormDifference },
    within: lossDifference <= allowed.loss && gradNormDifference <= allowed.gradNorm,
  };
  return { agreement, attention: expected.attention ?? "unknown" };
}

/** What is wrong where an agreement is not within the tolerances. */
export function disagreement(type: Type, found: Agreement): string {
  const allowed = tolerances[type];
  return (
    `without dropout, loss and gradient norm are ${found.loss} and ${found.gradNorm} here, ${found.peerLoss} and ` +
    `${found.peerGradNorm} of the peer; expected the same within ${allowed.loss} and ${allowed.gradNorm}`
  );
}
