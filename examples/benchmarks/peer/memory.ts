/** Peak memory of processes that do nothing but steps, or nothing but an evaluation. */
import { generateRequest } from "./evaluation.js";
import type { GenerateAnswer, MemoryAnswer, Way } from "./protocol.js";
import { openHere, openPeer, type Setting } from "./setting.js";
import type { Side } from "./side.js";
import { stepsOn } from "./step.js";

/** Bytes: resident, or on a GPU those in tensors. */
export interface Peaks {
  here: number;
  peer: number;
  /** On a GPU what libtorch's allocator took from the card. */
  reserved?: { here: number; peer: number };
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
  const single = { ...setting, steps: 1 };
  const train = async (side: Side): Promise<void> => {
    for (let i = 0; i < steps; i++) await stepsOn(side, single, i);
  };
  const evaluate = (side: Side): Promise<GenerateAnswer> =>
    side.request(generateRequest(setting, setting.evaluationBatch));
  return {
    steps: peaksOf(await peakOf(openHere(setting), train), await peakOf(openPeer(setting, ways.step), train)),
    evaluation: peaksOf(
      await peakOf(openHere(setting), evaluate),
      await peakOf(openPeer(setting, ways.evaluation), evaluate),
    ),
  };
}

/** Of the GPU's memory where both were on one. */
export function peaksOf(here: MemoryAnswer, peer: MemoryAnswer): Peaks {
  if (here.device === null || peer.device === null) return { here: here.peak, peer: peer.peak };
  return {
    ...{ here: here.device.allocated, peer: peer.device.allocated },
    reserved: { here: here.device.reserved, peer: peer.device.reserved },
  };
}

async function peakOf(opened: Promise<Side>, work: (side: Side) => Promise<unknown>): Promise<MemoryAnswer> {
  await using side = await opened;
  await work(side);
  return side.request<MemoryAnswer>({ do: "memory" });
}
