/** Peak memory of processes that do nothing but steps, or nothing but an evaluation. */
import { generateRequest } from "./evaluation.js";
import type { GenerateAnswer, MemoryAnswer, Way } from "./protocol.js";
import { openHere, openPeer, type Setting } from "./setting.js";
import type { Side } from "./side.js";
import { stepOn } from "./step.js";

/** Bytes. */
export interface Peaks {
  here: number;
  peer: number;
}

export interface MemoryResult {
  steps: Peaks;
  evaluation: Peaks;
}

const steps = 4;

/** Each measurement has a process of its own, and runs alone. Loading counts: it is the peak of some. */
export async function measureMemory(
  setting: Setting,
  ways: { step: Way; evaluation: Way },
): Promise<MemoryResult> {
  const train = async (side: Side): Promise<void> => {
    for (let i = 0; i < steps; i++) await stepOn(side, setting, i);
  };
  const evaluate = (side: Side): Promise<GenerateAnswer> =>
    side.request(generateRequest(setting, setting.evaluationBatch));
  return {
    steps: {
      here: await peakOf(openHere(setting), train),
      peer: await peakOf(openPeer(setting, ways.step), train),
    },
    evaluation: {
      here: await peakOf(openHere(setting), evaluate),
      peer: await peakOf(openPeer(setting, ways.evaluation), evaluate),
    },
  };
}

async function peakOf(opened: Promise<Side>, work: (side: Side) => Promise<unknown>): Promise<number> {
  await using side = await opened;
  await work(side);
  return (await side.request<MemoryAnswer>({ do: "memory" })).peak;
}
