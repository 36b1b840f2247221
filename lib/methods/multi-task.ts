import { z } from "zod";
import { defineMethod, type Method } from "./method.js";
import { trainPlainly } from "./sequential.js";

/** All tasks' records shuffled together in one training of the same number of epochs: what no order of tasks can be better than. */
export const multiTask: Method = defineMethod({
  name: "multi-task",
  summary: "all tasks at once, their records shuffled together: an upper bound",
  options: z.object({}),
  usesMemory: false,
  learnsTogether: true,
  learn: (run) => trainPlainly(run, run.taskBatches()),
});
