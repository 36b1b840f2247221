import { z } from "zod";
import { defineMethod, type Method } from "./method.js";
import { count } from "./fields.js";
import { learningRateAt } from "./schedule.js";
import { trainPlainly } from "./sequential.js";

const options = z.object({
  daySteps: count
    .default(24)
    .describe(
      "first steps of a task, whose way through parameter space is its day (measured anew in every task)",
    ),
  replayDays: z
    .array(z.number().positive())
    .min(1)
    .default([1, 2, 4, 7, 15, 30])
    .describe("days after which a replay round falls due; beyond the last, each is twice the one before"),
  replayRoundSteps: count
    .default(24)
    .describe("steps of a replay round, on memory batches (the paper gives none)"),
  anchorWeight: z
    .number()
    .nonnegative()
    .default(1e-3)
    .describe("weight of the squared distance from the task's first parameters in replay"),
  paceDecay: z.number().min(0).max(1).default(0.05).describe("share of the newest step in the recent pace"),
  paceRange: z
    .tuple([z.number().nonnegative(), z.number().positive()])
    .default([0.5, 3])
    .describe("bounds of the recent pace over that of the day, which the weight is multiplied by"),
});
type Options = z.output<typeof options>;

const taskLoop = 0;
const replayLoop = 1;

/**
 * FOREVER (ACL 2026): replay by model time. A task's clock is the summed length of its own updates (replay does not move it); when it
 * passes days 1, 2, 4, 7, ... the memory is replayed for a round, with the optimizer and rate of the task, while the parameters are
 * held near those the task began with, the more the faster they move.
 */
export const forever: Method<typeof options.shape> = defineMethod({
  name: "forever",
  summary: "memory is replayed when the parameters have moved for 1, 2, 4, 7, ... days (FOREVER)",
  options,
  usesMemory: true,
  async learn(run, o) {
    const batches = run.taskBatches({ loop: taskLoop });
    if (run.memorySize === 0) return trainPlainly(run, batches);
    const memory = run.memoryBatches({ loop: replayLoop });
    const optimizer = run.optimizer("inner");
    const rate = { base: run.learningRate, warmupSteps: run.warmupSteps, totalSteps: batches.steps };
    const theta = run.parameters;
    const [anchor, before, moved] = [run.vector("anchor"), run.vector("before"), run.vector("moved")];

    // `day` and `pace` are lengths of updates: of the first steps together, and of one recent step.
    const s = run.state({ step: 0, replayStep: 0, roundsDue: 0, nextDay: 0, time: 0, day: 0, pace: 0 });
    if (s.step === 0) anchor.copyFrom(theta);
    for (;;) {
      for (; s.replayStep < s.roundsDue * o.replayRoundSteps; s.replayStep++) {
        const [low, high] = o.paceRange;
        const pace = (s.pace * o.daySteps) / s.day;
        const beta = o.anchorWeight * Math.min(high, Math.max(low, pace));
        await run.step({
          batch: memory.at(s.replayStep),
          loop: replayLoop,
          step: s.replayStep,
          optimizer,
          learningRate: learningRateAt(s.step - 1, rate), // of the step that the round follows
          async penalty(gradients) {
            moved.setDifference(theta, anchor);
            gradients.addScaled(moved, 2 * beta);
            return beta * (await moved.norm()).norm ** 2;
          },
        });
      }
      if (s.step === batches.steps) return;
      before.copyFrom(theta);
      await run.step({
        batch: batches.at(s.step),
        loop: taskLoop,
        step: s.step,
        optimizer,
        learningRate: learningRateAt(s.step, rate),
        mayKeep: true,
      });
      moved.setDifference(theta, before);
      const { norm } = await moved.norm();
      s.step++;
      s.time += norm;
      if (s.day > 0) s.pace += o.paceDecay * (norm - s.pace);
      // Steps that move nothing, at a rate of 0, make no day.
      else if (s.step >= o.daySteps && s.time > 0)
        Object.assign(s, { day: s.time, pace: s.time / o.daySteps });
      for (; s.day > 0 && s.time >= s.day * dayOf(s.nextDay, o); s.nextDay++) s.roundsDue++;
    }
  },
});

/** The n-th day on which a round falls due. */
function dayOf(n: number, { replayDays }: Options): number {
  const last = replayDays.length - 1;
  return n <= last ? replayDays[n]! : replayDays[last]! * 2 ** (n - last);
}
