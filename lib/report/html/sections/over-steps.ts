import type { VariantFigures } from "../../figures/figures.js";
import type { TrainingFigures } from "../../figures/training.js";

/** What pictures over a run's steps have in common. */
export const stepLabel = "optimizer steps of the run, all loops";

/** Which of several runs is shown. */
export const seedNote = ({ trainingSeed, seeds }: Pick<VariantFigures, "trainingSeed" | "seeds">): string =>
  trainingSeed === null || seeds.length < 2 ? "" : `, seed ${trainingSeed}`;

/** Where tasks begin. */
export function marksOf({ tasks }: Pick<TrainingFigures, "tasks">): { at: number; name: string }[] {
  return tasks.map(({ task, from }) => ({ at: from, name: task }));
}
