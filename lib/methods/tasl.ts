import { z } from "zod";
import { updateImportance } from "../models/kernels.js";
import { defineMethod, type Method } from "./method.js";
import { fraction } from "./fields.js";
import { trainPlainly } from "./sequential.js";
import { forEachElement, minMaxNormalised, quantileOf, skillUnits, unitMean } from "./skill-units.js";

const options = z.object({
  skillUnit: z
    .enum(["tensor", "rank"])
    .default("tensor")
    .describe(
      "what is weighed as one: a tensor, merged by which of the two is important; or a rank of an adapter, merged by a softmax of importance",
    ),
  skillDecay: fraction
    .default(0.85)
    .describe("decay of the moving averages of importance and of its uncertainty over a task"),
  newSkillWeight: fraction
    .default(0.3)
    .describe("weight of the new task, beside the earlier ones together, in what both are important to"),
  skillQuantile: fraction.default(0.8).describe("a unit is important above this quantile of all units"),
  skillTemperature: z.number().positive().default(0.25).describe("temperature of the softmax over ranks"),
});

/**
 * TaSL (ACL 2024): importance is measured over a whole task and averaged over units of weights; after the task, each unit is a
 * mixture of what it was before and what it became, by whom it is important to. Importance is read from the gradient before clipping and the
 * weight before the update: |theta g|, and for ranks |theta g - (theta g)^2 / 2|.
 */
export const tasl: Method<typeof options.shape> = defineMethod({
  name: "tasl",
  summary:
    "after each task, units of weights are merged by their importance to it and to the earlier ones (TaSL)",
  options,
  presets: { lora: { skillUnit: "rank" } },
  usesMemory: false,
  async learn(run, { skillUnit, skillDecay }) {
    skillUnits(run.tensors, skillUnit); // refuses what it cannot weigh before anything is trained
    const { parameters: theta } = run;
    const skill = run.importance("skill", { importanceDecay: skillDecay, uncertaintyDecay: skillDecay });
    const start = run.vector("start");
    if (run.state({ step: 0 }).step === 0) start.copyFrom(theta);
    // |theta g - (theta g)^2 / 2| = |theta h| with h = g - theta g^2 / 2.
    const second = skillUnit === "rank" ? { squares: run.vector("squares"), h: run.vector("h") } : undefined;
    await trainPlainly(run, run.taskBatches(), {
      async penalty(gradients) {
        if ((await gradients.norm()).nonFinite > 0) return; // the step will be skipped
        if (second) {
          second.squares.fill(0);
          second.squares.addProduct(gradients, gradients, 1);
          second.h.copyFrom(gradients);
          second.h.addProduct(theta, second.squares, -0.5);
        }
        updateImportance(skill, theta, second?.h ?? gradients, skill.options);
      },
    });
  },
  async consolidate(run, o) {
    const units = skillUnits(run.tensors, o.skillUnit);
    const score = run
      .importance("skill", { importanceDecay: o.skillDecay, uncertaintyDecay: o.skillDecay })
      .score();
    const [scores, trained, before] = await Promise.all([
      score.read(),
      run.parameters.read(),
      run.vector("start").read(),
    ]).finally(() => score.dispose());
    const fresh = minMaxNormalised(units.map((unit) => unitMean(unit, scores)));
    const kept = run.keptState<{ importance: number[] }>({ importance: [] });
    const old = kept.importance;
    if (run.task.index === 0) {
      kept.importance = fresh;
      return;
    }
    const shares = (o.skillUnit === "rank" ? bySoftmax : byThresholds)(fresh, old, o);
    units.forEach((unit, u) => {
      const share = shares[u]!;
      forEachElement(unit, (i) => (trained[i] = share * trained[i]! + (1 - share) * before[i]!));
    });
    run.parameters.set(trained);
    kept.importance = minMaxNormalised(
      fresh.map((value, u) => o.newSkillWeight * value + (1 - o.newSkillWeight) * old[u]!),
    );
  },
});

type Merge = Pick<z.output<typeof options>, "newSkillWeight" | "skillQuantile" | "skillTemperature">;

/** The new weights' share of every unit, by which of the two it is important to. */
function byThresholds(fresh: number[], old: number[], o: Merge): number[] {
  const [thresholdFresh, thresholdOld] = [fresh, old].map((values) => quantileOf(values, o.skillQuantile));
  return fresh.map((value, u) => {
    const [isNew, isOld] = [value > thresholdFresh!, old[u]! > thresholdOld!];
    if (isNew && isOld) return o.newSkillWeight;
    return isNew ? 1 : isOld ? 0 : 0.5;
  });
}

function bySoftmax(fresh: number[], old: number[], { skillTemperature }: Merge): number[] {
  return fresh.map((value, u) => 1 / (1 + Math.exp((old[u]! - value) / skillTemperature)));
}
