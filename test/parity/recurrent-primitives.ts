/**
 * The recurrent trace on the contract's primitives alone, as the fixtures' README writes it down. It tells a wrong kernel from a
 * wrong method: where this agrees with a set and lib/methods does not, the method is at fault.
 */
import { pack } from "../../lib/data/pack.js";
import type {
  Addon,
  FusionTable,
  ImportanceVectors,
  Mask,
  Model,
  Vector,
} from "../../lib/native/contract.js";
import type { RunRecurrent, TracedAdaptive, TracedCycle, TracedSide, TracedStep } from "./recurrent-trace.js";
import { addon, loadWithAdapter } from "./runtime.js";
import { createOptimizer, gradient, learningRate, update } from "./steps.js";

function createImportance(native: Addon, parameters: Vector): ImportanceVectors {
  const average = (): Vector => native.createVector(parameters.length, parameters);
  return { importance: average(), uncertainty: average() };
}

interface Side {
  tau: Vector;
  averages: ImportanceVectors;
  score: Vector;
  mask: Mask;
}

async function trace(side: Side): Promise<TracedSide> {
  const [threshold = NaN] = await side.mask.thresholds();
  return {
    tau: await side.tau.read(),
    ibar: await side.averages.importance.read(),
    ubar: await side.averages.uncertainty.read(),
    score: await side.score.read(),
    threshold,
    mask: await side.mask.read(),
  };
}

async function adaptive(
  native: Addon,
  start: Vector,
  inner: Side,
  outer: Side,
  tau: number,
): Promise<TracedAdaptive> {
  const beside = (): Vector => native.createVector(start.length, start);
  const parameters = beside();
  const weights = { in: beside(), out: beside() };
  await native.fuseAdaptive(
    { parameters, start, tauIn: inner.tau, tauOut: outer.tau },
    { in: inner.score, out: outer.score },
    tau,
    weights,
  );
  const result = {
    weightIn: await weights.in.read(),
    weightOut: await weights.out.read(),
    theta: await parameters.read(),
  };
  for (const vector of [parameters, weights.in, weights.out]) vector.dispose();
  return result;
}

export const runOnPrimitives: RunRecurrent = async (setup) => {
  const { root, adapter, family, settings, inner, outer, device } = setup;
  const native = await addon();
  const model: Model = await loadWithAdapter(root, adapter, {}, device);
  const { parameters } = model;
  const innerOptimizer = createOptimizer(native, parameters);
  const outerOptimizer =
    settings.outer_optimizer === "its own" ? createOptimizer(native, parameters) : innerOptimizer;
  const innerAverages = createImportance(native, parameters);
  const outerAverages = createImportance(native, parameters);
  const table: FusionTable = {
    onlyIn: [1, 0],
    onlyOut: [0, 1],
    both: settings.both,
    neither: settings.neither,
  };
  const common = {
    betas: settings.betas,
    epsilon: settings.eps,
    weightDecay: settings.weight_decay,
    maxGradNorm: settings.max_grad_norm,
  };
  const importanceOptions = {
    importanceDecay: settings.alpha1,
    uncertaintyDecay: settings.alpha2,
    reads: settings.value === "before the step" ? "before" : "after",
  } as const;

  const steps: TracedStep[] = [];
  const cycles: TracedCycle[] = [];
  let lastAdaptive: TracedAdaptive | undefined;
  let innerSteps = 0;
  let outerSteps = 0;

  for (let cycle = 0; cycle < settings.cycles; cycle++) {
    const start = parameters.copy();
    innerAverages.importance.fill(0);
    innerAverages.uncertainty.fill(0);
    for (let step = 0; step < settings.inner_steps_per_cycle; step++) {
      const lr = learningRate(settings.inner_schedule, innerSteps);
      const { loss } = await gradient(model, pack(inner[innerSteps]!), family);
      const { gradNorm } = await update(
        native,
        model,
        innerOptimizer,
        { ...common, learningRate: lr },
        { ...innerAverages, ...importanceOptions },
      );
      steps.push({ cycle, loop: "inner", lr, loss, gradNorm });
      innerSteps++;
    }
    const tauIn = parameters.minus(start);
    if (settings.outer_start === "theta_b") parameters.copyFrom(start);
    const outerStart = parameters.copy();
    for (let step = 0; step < settings.outer_steps_per_cycle; step++) {
      // The published code never steps the outer schedule: the rate is the one that the next inner step will have.
      const lr =
        settings.outer_schedule === null
          ? learningRate(settings.inner_schedule, innerSteps)
          : learningRate(settings.outer_schedule, outerSteps);
      const { loss } = await gradient(model, pack(outer[outerSteps]!), family);
      const { gradNorm } = await update(
        native,
        model,
        outerOptimizer,
        { ...common, learningRate: lr },
        { ...outerAverages, ...importanceOptions },
      );
      steps.push({ cycle, loop: "outer", lr, loss, gradNorm });
      outerSteps++;
    }
    const select = { keepFraction: 1 - settings.quantile, by: "quantile", compare: settings.mask } as const;
    const side = (tau: Vector, averages: ImportanceVectors): Side => {
      const score = native.score(averages);
      return { tau, averages, score, mask: native.select(score, select) };
    };
    const sideIn = side(tauIn, innerAverages);
    const sideOut = side(parameters.minus(outerStart), outerAverages);
    if (cycle === settings.cycles - 1) {
      lastAdaptive = await adaptive(native, start, sideIn, sideOut, settings.adaptive_tau);
    }
    const report = await native.fuse(
      { parameters, start, tauIn: sideIn.tau, tauOut: sideOut.tau },
      { in: sideIn.mask, out: sideOut.mask },
      table,
    );
    cycles.push({
      in: await trace(sideIn),
      out: await trace(sideOut),
      theta: await parameters.read(),
      counts: {
        in_only: report.onlyIn,
        out_only: report.onlyOut,
        both: report.both,
        neither: report.neither,
      },
    });
    for (const { tau, score, mask } of [sideIn, sideOut]) {
      for (const handle of [tau, score, mask]) handle.dispose();
    }
    start.dispose();
    outerStart.dispose();
  }
  const layout = model.layout.map(({ name, shape, offset }) => ({ key: name, shape, offset }));
  for (const { m, v } of [innerOptimizer, outerOptimizer]) {
    m.dispose();
    v.dispose();
  }
  for (const { importance, uncertainty } of [innerAverages, outerAverages]) {
    importance.dispose();
    uncertainty.dispose();
  }
  model.dispose();
  if (lastAdaptive === undefined) throw new Error("a recurrent set has at least one cycle");
  return { steps, cycles, adaptive: lastAdaptive, layout };
};
