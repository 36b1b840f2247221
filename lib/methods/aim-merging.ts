import { z } from "zod";
import { defineMethod, type Method } from "./method.js";
import { count, outerLearningRate } from "./fields.js";
import { learningRateAt } from "./schedule.js";
import { trainPlainly } from "./sequential.js";

const options = z.object({
  firstInterval: count.default(8).describe("steps between two merges of a task, at first"),
  leastInterval: count.default(2).describe("least steps between two merges"),
  mostInterval: count.default(128).describe("most steps between two merges"),
  forgettingRatio: z
    .number()
    .positive()
    .default(2)
    .describe("loss on memory over its mean in the interval's first two thirds that is a sign of forgetting"),
  outerLearningRate: outerLearningRate.describe(
    "learning rate of the outer loop's own optimizer; warm-up and decay go by the task's steps, since no one knows how many outer ones there will be",
  ),
});
type Options = z.output<typeof options>;

const innerLoop = 0;
const outerLoop = 1;
const watchLoop = 2;

/** Signs of forgetting that make a merge due at once. */
const urgentSigns = 3;
/** Merges of a task before its interval changes. */
const steadyMerges = 3;
/** Interval from which the task is learned slowly enough for other rules. */
const longInterval = 64;

/**
 * AIMMerging (EMNLP 2025): as Recurrent-KIF, each cycle trains on the task, then from the cycle's first weights on the memory, and merges
 * both task vectors, here with one weight each. How long a cycle is follows from how fast the task is learned, and when it ends from signs of
 * forgetting: the loss on a memory batch, looked at before every inner step.
 */
export const aimMerging: Method<typeof options.shape> = defineMethod({
  name: "aim-merging",
  summary: "task vectors of task and memory merged when learning and forgetting call for it (AIMMerging)",
  options,
  usesMemory: true,
  async learn(run, o) {
    const batches = run.taskBatches({ loop: innerLoop });
    if (run.memorySize === 0) return trainPlainly(run, batches);
    const memory = run.memoryBatches({ loop: outerLoop });
    const watched = run.memoryBatches({ loop: watchLoop });
    const [inner, outer] = [run.optimizer("inner"), run.optimizer("outer")];
    const theta = run.parameters;
    const [start, tauIn, tauOut] = [run.vector("start"), run.vector("tauIn"), run.vector("tauOut")];
    const schedule = { warmupSteps: run.warmupSteps, totalSteps: batches.steps };

    const s = run.state({
      ...{ phase: "inner", step: 0, outer: 0, outerStep: 0 },
      ...{ interval: o.firstInterval, due: o.firstInterval, merges: 0, learning: 0 },
      losses: [] as number[],
    });
    for (;;) {
      while (s.phase === "inner") {
        if (s.step === batches.steps) return; // what follows the last merge stays unmerged
        if (s.losses.length === 0) start.copyFrom(theta);
        const loss = await run.lossOf(watched.at(s.step));
        await run.step({
          batch: batches.at(s.step),
          loop: innerLoop,
          step: s.step,
          optimizer: inner,
          learningRate: learningRateAt(s.step, { base: run.learningRate, ...schedule }),
          mayKeep: s.losses.length === 0,
        });
        s.step++;
        s.losses.push(Number.isFinite(loss) ? loss : Number.MAX_VALUE);
        if (!isDue(s, signsOfForgetting(s, o))) continue;
        tauIn.setDifference(theta, start);
        theta.copyFrom(start);
        Object.assign(s, { phase: "outer", outer: 0 });
      }
      for (; s.outer < s.interval; s.outer++, s.outerStep++) {
        await run.step({
          batch: memory.at(s.outerStep),
          loop: outerLoop,
          step: s.outerStep,
          optimizer: outer,
          learningRate: learningRateAt(s.step - 1, { base: o.outerLearningRate, ...schedule }),
        });
      }
      tauOut.setDifference(theta, start);
      const change = (await tauIn.read()).reduce((sum, value) => sum + Math.abs(value), 0);
      const [weightIn, weightOut] = globalWeights(signsOfForgetting(s, o), s.interval);
      theta.copyFrom(start);
      theta.addScaled(tauIn, weightIn);
      theta.addScaled(tauOut, weightOut);
      await run.cycle({
        cycle: s.merges,
        fused: true,
        merge: { step: s.step, weightIn, weightOut, interval: s.interval },
        vectors: { start, tauIn, tauOut },
      });
      const learning = change / s.interval;
      if (s.merges >= steadyMerges) s.interval = nextInterval(s.interval, learning, s.learning, o);
      Object.assign(s, {
        phase: "inner",
        merges: s.merges + 1,
        learning,
        losses: [],
        due: s.step + s.interval,
      });
    }
  },
});

/** Looks at the memory in which the loss was far above its mean in the first two thirds of the interval. */
function signsOfForgetting(s: { losses: readonly number[]; interval: number }, o: Options): number {
  const first = Math.max(1, Math.floor((2 * s.interval) / 3));
  const early = s.losses.slice(0, first);
  const mean = early.reduce((sum, loss) => sum + loss / early.length, 0);
  return s.losses.slice(first).filter((loss) => loss > o.forgettingRatio * mean).length;
}

function isDue(
  { step, due, interval }: { step: number; due: number; interval: number },
  signs: number,
): boolean {
  return (step >= due && signs >= 1) || signs >= urgentSigns || step >= due + interval;
}

/** Weights of the inner and the outer task vector. */
function globalWeights(signs: number, interval: number): [number, number] {
  if (signs > 1) return interval <= 70 ? [0.5, 0.5] : [0.4, 0.6];
  return interval <= 70 ? [0.6, 0.4] : [0.5, 0.5];
}

/** Shorter where the task is learned faster than before, longer where it is learned more slowly; a whole number. */
function nextInterval(interval: number, learning: number, before: number, o: Options): number {
  const isLong = interval >= longInterval;
  if (learning >= before) {
    const shorter = before > 0 ? interval * (before / learning) : interval;
    return Math.max(o.leastInterval, Math.floor(isLong ? shorter / 2 : shorter));
  }
  const longer = interval * (before / learning + (isLong ? 0.5 : 1));
  return Math.min(o.mostInterval, Math.floor(longer));
}
