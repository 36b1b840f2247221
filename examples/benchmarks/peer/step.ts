/** A training step on both sides, in alternation, after a pass without dropout that must give the same losses. */
import type { CheckAnswer, CheckRequest, StepAnswer, StepRequest, Type, Way } from "./protocol.js";
import { pairedRatio, relativeDifference, type Ratio } from "./ratios.js";
import { alternate, batchOf, openHere, openPeer, type Setting } from "./setting.js";
import type { Side } from "./side.js";

/** Largest relative differences allowed. In bfloat16 the two round in different places: the weights of a layer, or also its products. */
export const tolerances: Record<Type, CheckAnswer> = {
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
  /** Seconds of every round. */
  here: number[];
  peer: number[];
  ratio: Ratio;
}

/** Seconds of an optimizer step on the batch of this number. */
export async function stepOn(side: Side, setting: Setting, number: number): Promise<number> {
  const step: StepRequest = { do: "step", batch: batchOf(setting, number) };
  const { loss, seconds } = await side.request<StepAnswer>(step);
  if (Number.isFinite(loss)) return seconds;
  throw new Error(`${setting.model} ${setting.type}: the loss of batch ${number} is ${loss}`);
}

/** @throws an error where the two sides compute different losses. */
export async function measureStep(setting: Setting, way: Way): Promise<StepResult> {
  await using here = await openHere(setting);
  await using peer = await openPeer(setting, way);
  const agreement = await compare(setting, here, peer);
  const seconds = await alternate(
    setting.rounds,
    (round) => stepOn(here, setting, round),
    (round) => stepOn(peer, setting, round),
  );
  return { agreement, ...seconds, ratio: pairedRatio(seconds.peer, seconds.here) };
}

async function compare(setting: Setting, here: Side, peer: Side): Promise<Agreement> {
  const check: CheckRequest = { do: "check", batch: batchOf(setting, 0) };
  const found = await here.request<CheckAnswer>(check);
  const expected = await peer.request<CheckAnswer>(check);
  const lossDifference = relativeDifference(found.loss, expected.loss);
  const gradNormDifference = relativeDifference(found.gradNorm, expected.gradNorm);
  const allowed = tolerances[setting.type];
  if (lossDifference <= allowed.loss && gradNormDifference <= allowed.gradNorm) {
    return { loss: found.loss, lossDifference, gradNormDifference };
  }
  throw new Error(
    `${setting.model} ${setting.type}: without dropout, loss and gradient norm are ${found.loss} and ${found.gradNorm} here, ` +
      `${expected.loss} and ${expected.gradNorm} of the peer; expected the same within ${allowed.loss} and ${allowed.gradNorm}`,
  );
}
