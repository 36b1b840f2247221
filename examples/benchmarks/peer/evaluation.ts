/** Classification records answered: packed batches here, one record at a time as published, and transformers' batches. */
import { classLabels, evaluationPrompts } from "./batches.js";
import type { GenerateAnswer, GenerateRequest, ScoreRequest, Way } from "./protocol.js";
import { median, pairedRatio, type Ratio } from "./ratios.js";
import { openHere, openPeer, type Setting } from "./setting.js";
import type { Side } from "./side.js";

export interface EvaluationResult {
  way: Way;
  records: number;
  sharedTokens: number;
  newTokens: number;
  /** Seconds of every round for all records. */
  here: number[];
  scored: number[];
  oneByOne: number[];
  batched: number[];
  /** Times of the peer over this side's generation. */
  toOneByOne: Ratio;
  toBatched: Ratio;
  /** Of the published way, which generates, over this side's scoring of four options. */
  scoredToOneByOne: Ratio;
  /** Share of records whose answer here is that of the peer one by one, token for token. */
  equal: number;
}

export function generateRequest(setting: Setting, batch: number): GenerateRequest {
  const prompts = evaluationPrompts(setting.records, setting);
  return { do: "generate", prompts, newTokens: setting.newTokens, batch };
}

/** @throws an error where answers differ in fp32. */
export async function measureEvaluation(setting: Setting, way: Way): Promise<EvaluationResult> {
  await using here = await openHere(setting);
  await using peer = await openPeer(setting, way);
  const request = generateRequest(setting, setting.evaluationBatch);
  const score: ScoreRequest = { do: "score", prompts: request.prompts, options: classLabels() };
  const work: Record<"here" | "scored" | "oneByOne" | "batched", [Side, object]> = {
    here: [here, request],
    scored: [here, score],
    oneByOne: [peer, { ...request, batch: 1 }],
    batched: [peer, request],
  };
  const names = Object.keys(work) as (keyof typeof work)[];
  const seconds = {
    here: [] as number[],
    scored: [] as number[],
    oneByOne: [] as number[],
    batched: [] as number[],
  };
  let equal = 1;
  for (let round = 0; round <= setting.rounds; round++) {
    const answers: Partial<Record<keyof typeof work, number[][]>> = {};
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const [side, asked] = work[name];
      const answer = await side.request<GenerateAnswer>(asked);
      answers[name] = answer.answers;
      // Round 0 only warms up.
      if (round > 0) seconds[name].push(answer.seconds);
    }
    equal = shareOfEqual(answers.here!, answers.oneByOne!);
    if (setting.type === "float32" && equal < 1)
      throw new Error(differing(setting, answers.here!, answers.oneByOne!));
  }
  return {
    ...{
      way,
      records: setting.records,
      sharedTokens: setting.sharedTokens,
      newTokens: setting.newTokens,
      ...seconds,
      equal,
    },
    toOneByOne: pairedRatio(seconds.oneByOne, seconds.here),
    toBatched: pairedRatio(seconds.batched, seconds.here),
    scoredToOneByOne: pairedRatio(seconds.oneByOne, seconds.scored),
  };
}

export function shareOfEqual(found: readonly number[][], expected: readonly number[][]): number {
  return found.filter((answer, i) => String(answer) === String(expected[i])).length / expected.length;
}

function differing(
  { model, type }: Setting,
  found: readonly number[][],
  expected: readonly number[][],
): string {
  const record = found.findIndex((answer, i) => String(answer) !== String(expected[i]));
  return (
    `${model} ${type}: record ${record} is answered ${JSON.stringify(found[record])} here and ` +
    `${JSON.stringify(expected[record])} by the peer; expected the same tokens`
  );
}

/** Seconds a record. */
export const perRecord = (seconds: readonly number[], { records }: { records: number }): number =>
  median(seconds) / records;
