/** Training steps on both sides, in alternation, after a pass without dropout that must give the same losses. */
import { realTokens } from "./batches.js";
import type {
  CheckAnswer,
  CheckRequest,
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

export interface Agreement {
  loss: number;
  lossDifference: number;
  gradNormDifference: number;
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

/** @throws an error where the two sides compute different losses. */
export async function measureStep(setting: Setting, way: Way): Promise<StepResult> {
  await using here = await openHere(setting);
  await using peer = await openPeer(setting, way);
  const { agreement, attention } = await compare(setting, here, peer);
  const tokens: number[] = [];
  const seconds = await alternate(
    setting.rounds,
    (round) => stepsOn(here, setting, round),
    (round) => stepsOn(peer, setting, round),
  );
  for (let round = 1; round <= setting.rounds; round++) {
    const { family } = setting.checkpoint;
    const counts = batchesOf(setting, round).map((batch) => realTokens(batch, family));
    tokens.push(counts.reduce((sum, count) => sum + count, 0) / setting.steps);
  }
  const memory =
    setting.device === "cpu"
      ? null
      : peaksOf(
          await here.request<MemoryAnswer>({ do: "memory" }),
          await peer.request<MemoryAnswer>({ do: "memory" }),
        );
  return { agreement, attention, ...seconds, tokens, ratio: pairedRatio(seconds.peer, seconds.here), memory };
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
  if (lossDifference <= allowed.loss && gradNormDifference <= allowed.gradNorm) {
    const agreement = { loss: found.loss, lossDifference, gradNormDifference };
    return { agreement, attention: expected.attention ?? "unknown" };
  }
  throw new Error(
    `${setting.model} ${setting.type}: without dropout, loss and gradient norm are ${found.loss} and ${found.gradNorm} here, ` +
      `${expected.loss} and ${expected.gradNorm} of the peer; expected the same within ${allowed.loss} and ${allowed.gradNorm}`,
  );
}
