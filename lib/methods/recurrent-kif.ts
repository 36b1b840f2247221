import { z } from "zod";
import type { FusionTable, Vector } from "../native/contract.js";
import { elementCount } from "../models/element-count.js";
import { fuse, fuseAdaptive, select } from "../models/kernels.js";
import { defineMethod, type Method } from "./method.js";
import { count, fraction, outerLearningRate } from "./fields.js";
import type { Importance, LoopImportance, Run } from "./run.js";
import { learningRateAt } from "./schedule.js";
import { trainPlainly } from "./sequential.js";

const pair = z.tuple([z.number(), z.number()]);

const options = z.object({
  innerSteps: count.default(8).describe("inner steps of a cycle, on the task's records (Q)"),
  outerSteps: count.default(4).describe("outer steps of a cycle, on memory records (M)"),
  keepFraction: fraction.default(0.2).describe("share of weights counted as important (1 - delta)"),
  importanceDecay: fraction.default(0.55).describe("decay of the moving average of importance (alpha1)"),
  uncertaintyDecay: fraction.default(0.55).describe("decay of the moving average of uncertainty (alpha2)"),
  outerLearningRate,
  importanceMeasured: z
    .enum(["every-cycle", "first-cycle"])
    .default("every-cycle")
    .describe("importance goes on being measured, or is that of a task's first cycle throughout"),
  mergeOnce: z
    .boolean()
    .default(false)
    .describe("one cycle for the whole task, of as many inner and outer steps as all of them have together"),
  importanceReads: z
    .enum(["before", "after"])
    .default("before")
    .describe("importance multiplies the gradient with the weight before or after the update"),
  outerStart: z
    .enum(["cycle-start", "inner-end"])
    .default("cycle-start")
    .describe("where the outer loop starts: the cycle's first weights, or those the inner loop ended with"),
  outerOptimizer: z
    .enum(["own", "inner"])
    .default("own")
    .describe("the outer loop's optimizer: one of its own, or the inner loop's with its moments and rate"),
  outerLossScale: z.number().positive().default(1).describe("factor of the outer loop's loss"),
  maskCompare: z
    .enum([">=", ">"])
    .default(">=")
    .describe("a weight is important where score COMPARE threshold"),
  selectBy: z
    .enum(["quantile", "top-k"])
    .default("quantile")
    .describe("how the important weights are selected"),
  thresholdScope: z
    .enum(["global", "per-tensor"])
    .default("global")
    .describe("one threshold, or one a tensor"),
  fusion: z
    .enum(["masks", "adaptive"])
    .default("masks")
    .describe("weights by mask bits, or by a softmax of scores"),
  fusionTemperature: z.number().positive().default(1).describe("temperature of the adaptive fusion"),
  fusionOnlyIn: pair
    .default([1, 0])
    .describe("weights of inner and outer task vector where only the inner mask is set"),
  fusionOnlyOut: pair.default([0, 1]).describe("the same where only the outer mask is set"),
  fusionBoth: pair.default([1, 1]).describe("the same where both masks are set"),
  fusionNeither: pair.default([0, 0]).describe("the same where neither mask is set"),
});
type Options = z.output<typeof options>;

const innerLoop = 0;
const outerLoop = 1;

/**
 * Recurrent-KIF (arXiv 2502.17510, algorithm 1): cycles of inner steps on the task, outer steps on the memory, and fusion of
 * the two task vectors by the importance both loops measured. The first task, which has no memory, trains plainly; inner
 * steps after the last full cycle stay unfused.
 */
export const recurrentKif: Method<typeof options.shape> = defineMethod({
  name: "recurrent-kif",
  summary:
    "recurrent knowledge identification and fusion: inner and outer loops, fused by importance in every cycle",
  options,
  presets: {
    paper: {},
    "published-code": {
      importanceDecay: 0.85,
      uncertaintyDecay: 0.85,
      importanceReads: "after",
      outerStart: "inner-end",
      outerOptimizer: "inner",
      outerLossScale: 0.25,
      maskCompare: ">",
      fusionBoth: [0.4, 0.6],
      fusionNeither: [0.5, 0.5],
      selectBestOnDev: true,
    },
    // The paper's ablations: -DIE, -KI, +GM, +Adaptive, -Share, and a threshold for every tensor.
    "static-importance": { importanceMeasured: "first-cycle" },
    "no-identification": {
      fusionOnlyIn: [0.5, 0.5],
      fusionOnlyOut: [0.5, 0.5],
      fusionBoth: [0.5, 0.5],
      fusionNeither: [0.5, 0.5],
    },
    "global-merge": { mergeOnce: true },
    adaptive: { fusion: "adaptive" },
    "no-shared": { fusionBoth: [0, 0] },
    "per-tensor": { thresholdScope: "per-tensor" },
  },
  usesMemory: true,
  async learn(run, o) {
    const batches = run.taskBatches({ loop: innerLoop });
    if (run.memorySize === 0) return trainPlainly(run, batches);

    const memory = run.memoryBatches({ loop: outerLoop });
    const { cycles, innerSteps, outerSteps } = cyclesOf(batches.steps, o);
    const rates = {
      inner: { base: run.learningRate, warmupSteps: run.warmupSteps, totalSteps: batches.steps },
      outer: { base: o.outerLearningRate, warmupSteps: run.warmupSteps, totalSteps: cycles * outerSteps },
    };
    const inner = run.optimizer("inner");
    const outer = o.outerOptimizer === "own" ? run.optimizer("outer") : inner;
    const importanceIn = run.importance("in", o);
    const importanceOut = run.importance("out", o);
    const theta = run.parameters;
    const start = run.vector("start");
    const outerStart = o.outerStart === "cycle-start" ? start : run.vector("outerStart");
    const tauIn = run.vector("tauIn");
    const tauOut = run.vector("tauOut");

    const s = run.state({ cycle: 0, phase: "inner", inner: 0, outer: 0, step: 0, outerStep: 0 });
    while (s.cycle < cycles) {
      const measures = s.cycle === 0 || o.importanceMeasured === "every-cycle";
      if (s.phase === "inner") {
        if (s.inner === 0) {
          start.copyFrom(theta);
          if (measures) importanceIn.reset();
        }
        for (; s.inner < innerSteps; s.inner++, s.step++) {
          await run.step({
            batch: batches.at(s.step),
            loop: innerLoop,
            step: s.step,
            optimizer: inner,
            learningRate: learningRateAt(s.step, rates.inner),
            ...(measures ? { importance: { into: importanceIn, reads: o.importanceReads } } : {}),
            mayKeep: s.inner === 0,
          });
        }
        tauIn.setDifference(theta, start);
        if (outerStart === start) theta.copyFrom(start);
        else outerStart.copyFrom(theta);
        s.phase = "outer";
      }
      for (; s.outer < outerSteps; s.outer++, s.outerStep++) {
        await run.step({
          batch: memory.at(s.outerStep),
          loop: outerLoop,
          step: s.outerStep,
          optimizer: outer,
          learningRate:
            outer === inner ? learningRateAt(s.step, rates.inner) : learningRateAt(s.outerStep, rates.outer),
          lossScale: o.outerLossScale,
          ...(measures ? { importance: { into: importanceOut, reads: o.importanceReads } } : {}),
        });
      }
      tauOut.setDifference(theta, outerStart);
      await fuseCycle(
        run,
        o,
        { cycle: s.cycle, cycles },
        { start, tauIn, tauOut, importanceIn, importanceOut },
      );
      Object.assign(s, { cycle: s.cycle + 1, phase: "inner", inner: 0, outer: 0 });
    }
    for (; s.step < batches.steps; s.step++) {
      await run.step({
        batch: batches.at(s.step),
        loop: innerLoop,
        step: s.step,
        optimizer: inner,
        learningRate: learningRateAt(s.step, rates.inner),
        mayKeep: true,
      });
    }
  },
});

/** How many cycles a task's steps make, and how long each is. */
function cyclesOf(
  steps: number,
  { innerSteps, outerSteps, mergeOnce }: Options,
): { cycles: number; innerSteps: number; outerSteps: number } {
  const cycles = Math.floor(steps / innerSteps);
  if (!mergeOnce || cycles === 0) return { cycles, innerSteps, outerSteps };
  return { cycles: 1, innerSteps: steps, outerSteps: cycles * outerSteps };
}

interface CycleVectors {
  start: Vector;
  tauIn: Vector;
  tauOut: Vector;
  importanceIn: Importance;
  importanceOut: Importance;
}

/** parameters = start + (wIn * tauIn + wOut * tauOut), with weights from the two scores. */
async function fuseCycle(
  run: Run,
  o: Options,
  position: { cycle: number; cycles: number },
  v: CycleVectors,
): Promise<void> {
  const scoreIn = v.importanceIn.score();
  const scoreOut = v.importanceOut.score();
  const vectors = { start: v.start, tauIn: v.tauIn, tauOut: v.tauOut };
  const measuredBy = ({ importance, uncertainty }: Importance, score: Vector): LoopImportance => ({
    importance,
    uncertainty,
    score,
  });
  const importance = {
    in: measuredBy(v.importanceIn, scoreIn),
    out: measuredBy(v.importanceOut, scoreOut),
  };
  const selection = {
    keepFraction: o.keepFraction,
    by: o.selectBy,
    compare: o.maskCompare,
    ...(o.thresholdScope === "per-tensor" ? { segments: run.tensors.map(elementCount) } : {}),
  };
  const table: FusionTable = {
    onlyIn: o.fusionOnlyIn,
    onlyOut: o.fusionOnlyOut,
    both: o.fusionBoth,
    neither: o.fusionNeither,
  };
  const masks =
    o.fusion === "masks" ? { in: select(scoreIn, selection), out: select(scoreOut, selection) } : undefined;
  try {
    const report = masks
      ? await fuse({ parameters: run.parameters, ...vectors }, masks, table)
      : await fuseAdaptive(
          { parameters: run.parameters, ...vectors },
          { in: scoreIn, out: scoreOut },
          o.fusionTemperature,
        );
    await run.cycle({ ...position, ...report, vectors, importance, ...(masks ? { masks } : {}) });
  } finally {
    scoreIn.dispose();
    scoreOut.dispose();
    masks?.in.dispose();
    masks?.out.dispose();
  }
}
