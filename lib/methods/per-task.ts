import { z } from "zod";
import { defineMethod, type Method } from "./method.js";
import { trainPlainly } from "./sequential.js";

/**
 * An adapter for every task, each trained from where the run began, and every task evaluated with its own: nothing is forgotten and
 * nothing carried over. Needs to be told which task a record is of.
 */
export const perTask: Method = defineMethod({
  name: "per-task",
  summary: "an adapter of its own for every task, told apart in evaluation: an upper bound without transfer",
  options: z.object({}),
  usesMemory: false,
  needsAdapter: true,
  evaluatesWith: "own-adapter",
  learn(run) {
    const start = run.keptVector("start");
    if (run.state({ step: 0 }).step === 0) {
      if (run.task.index === 0) start.copyFrom(run.parameters);
      else run.parameters.copyFrom(start);
    }
    return trainPlainly(run, run.taskBatches());
  },
});
