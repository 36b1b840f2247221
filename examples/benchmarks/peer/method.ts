/** The method's own work in a cycle: snapshots, importance and uncertainty, task vectors, thresholds and fusion, without the model's steps. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { learningRateAt } from "../../../lib/methods/schedule.js";
import { elementCount } from "../../../lib/models/element-count.js";
import { loadAddon } from "../../../lib/native/load.js";
import { compareResults, writeVectors, type MethodAgreement } from "./method-vectors.js";
import { learningRate, type MethodAnswer, type MethodRequest, type RunMethod } from "./protocol.js";
import { median, pairedRatio, type Ratio } from "./ratios.js";
import { methodOfPaper } from "./run.js";
import { alternate, type Setting } from "./setting.js";
import { Side } from "./side.js";

export interface MethodResult {
  elements: number;
  /** Seconds of a cycle's own work in every round. */
  here: number[];
  peer: number[];
  ratio: Ratio;
  agreement: MethodAgreement;
}

/** What is measured for a model. */
export interface MethodResults {
  /** For the model's own trainable vector, then for a long one. */
  sizes: [MethodResult, MethodResult];
  /** Seconds of a cycle's steps, at the measured seconds of one step. */
  cycle: { here: number; peer: number };
}

/** About ten million elements: rank 8 on the queries and values of a large model. */
export const longShapes: number[][] = Array.from({ length: 160 }, () => [
  [8, 4096],
  [4096, 8],
]).flat();

/** Cycles of one round on either side, whose median counts; on a GPU they take milliseconds, and vary. */
const cyclesOfRound = { cpu: 3, cuda: 7 } as const;

/** @param step seconds of some training steps on either side, of which cycles are made up */
export async function measureMethods(
  setting: Setting,
  step: { here: readonly number[]; peer: readonly number[] },
): Promise<MethodResults> {
  const shapes = await shapesOf(setting);
  return {
    sizes: [await measureMethod(setting, shapes), await measureMethod(setting, longShapes)],
    cycle: { here: cycleSeconds(step.here), peer: cycleSeconds(step.peer) },
  };
}

/** Of the adapter's tensors, from its file: the model need not be loaded. */
async function shapesOf({ checkpoint }: Setting): Promise<number[][]> {
  const file = await loadAddon().openSafetensors(join(checkpoint.adapter, "adapter_model.safetensors"));
  const shapes = file.tensors.map(({ shape }) => shape);
  file.dispose();
  return shapes;
}

/** @throws an error where the two sides compute different numbers. */
export async function measureMethod(
  setting: Pick<Setting, "threads" | "device" | "python" | "rounds">,
  shapes: number[][],
): Promise<MethodResult> {
  const elements = shapes.reduce((total, shape) => total + elementCount({ shape }), 0);
  const folder = await mkdtemp(join(tmpdir(), "rkif-benchmark-method-"));
  try {
    await writeVectors(folder, elements);
    await using here = Side.here(setting.threads);
    await using peer = Side.peer(setting.python, setting.threads);
    const method = methodOfPaper();
    const ask = async (side: Side, results: string | null): Promise<number> => {
      const rates = ratesOf(method);
      const { threads, device } = setting;
      const request: MethodRequest = {
        ...{ do: "method", shapes, threads, device, method, rates, folder, results },
        cycles: cyclesOfRound[device],
      };
      return (await side.request<MethodAnswer>(request)).seconds;
    };
    // Round 0 only warms up, and both write what they computed.
    const files = { here: "here.f32", peer: "peer.f32" };
    const seconds = await alternate(
      setting.rounds,
      (round) => ask(here, round === 0 ? files.here : null),
      (round) => ask(peer, round === 0 ? files.peer : null),
    );
    const agreement = await compareResults(folder, files, elements);
    return { elements, ...seconds, ratio: pairedRatio(seconds.peer, seconds.here), agreement };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Seconds of a cycle whose steps take these. */
function cycleSeconds(step: readonly number[]): number {
  const { innerSteps, outerSteps } = methodOfPaper();
  return (innerSteps + outerSteps) * median(step);
}

/** Of a task that is one cycle, without a warm-up, as this side's method has them. */
function ratesOf({ innerSteps, outerSteps, outerLearningRate }: RunMethod): MethodRequest["rates"] {
  const rates = (base: number, totalSteps: number): number[] =>
    Array.from({ length: totalSteps }, (_, step) =>
      learningRateAt(step, { base, warmupSteps: 0, totalSteps }),
    );
  return { inner: rates(learningRate, innerSteps), outer: rates(outerLearningRate, outerSteps) };
}
