/**
 * The recurrent trace by the product's own method: lib/methods/recurrent-kif.ts learns a task in a TaskRun that is given the
 * recorded batches. Its presets decide what the two forms do.
 */
import type { output } from "zod";
import { learningRateAt } from "../../lib/methods/schedule.js";
import { recurrentKif } from "../../lib/methods/recurrent-kif.js";
import type { CycleReport, StepRequest, StepResult, TrainingRecord } from "../../lib/methods/run.js";
import { TaskRun, type TaskRunParts } from "../../lib/training/task-run.js";
import { newTaskCounters } from "../../lib/training/task-state.js";
import { createVector, fuseAdaptive } from "../../lib/models/kernels.js";
import type { Mask, Vector } from "../../lib/native/contract.js";
import type {
  RecurrentSettings,
  RecurrentSetup,
  RunRecurrent,
  TracedAdaptive,
  TracedCycle,
  TracedSide,
  TracedStep,
} from "./recurrent-trace.js";
import { loadWithAdapter } from "./runtime.js";

type Options = output<typeof recurrentKif.options>;

const presetOf: Readonly<Record<string, string>> = { paper: "paper", reference: "published-code" };

/** The preset of the set's form, with nothing of the set's settings. */
export function presetOptions(settings: RecurrentSettings): Options {
  const preset = presetOf[settings.form];
  const values = preset === undefined ? undefined : recurrentKif.presets?.[preset];
  if (values === undefined) throw new Error(`no preset for form ${settings.form}`);
  // Options shared by all methods stand in presets as well; the method's own parser knows only its own.
  const own = Object.entries(values).filter(([name]) => name in recurrentKif.options.shape);
  return recurrentKif.options.parse(Object.fromEntries(own));
}

/** A set's settings as the method's options. */
export function recordedOptions(settings: RecurrentSettings): Options {
  return recurrentKif.options.parse({
    ...presetOptions(settings),
    innerSteps: settings.inner_steps_per_cycle,
    outerSteps: settings.outer_steps_per_cycle,
    // 1 - 0.8 is not 0.2 in binary; settings are short decimal numbers.
    keepFraction: Number((1 - settings.quantile).toFixed(12)),
    importanceDecay: settings.alpha1,
    uncertaintyDecay: settings.alpha2,
    importanceReads: settings.value === "before the step" ? "before" : "after",
    outerStart: settings.outer_start === "theta_b" ? "cycle-start" : "inner-end",
    outerOptimizer: settings.outer_optimizer === "its own" ? "own" : "inner",
    maskCompare: settings.mask,
    fusionBoth: settings.both,
    fusionNeither: settings.neither,
    // The recorded runs scale no loss; the published code divides the outer loop's by 4.
    outerLossScale: 1,
    ...(settings.outer_schedule === null ? {} : { outerLearningRate: settings.outer_schedule.base }),
  });
}

/** Ends the method after the recorded cycles: its planned steps, which its schedule needs, are more. */
class Recorded extends Error {}

async function side(
  vectors: { tau: Vector; importance: Vector; uncertainty: Vector; score: Vector },
  mask: Mask,
): Promise<TracedSide> {
  const [threshold = NaN] = await mask.thresholds();
  return {
    tau: await vectors.tau.read(),
    ibar: await vectors.importance.read(),
    ubar: await vectors.uncertainty.read(),
    score: await vectors.score.read(),
    threshold,
    mask: await mask.read(),
  };
}

async function adaptive(
  { vectors: { start, tauIn, tauOut }, importance }: CycleReport,
  temperature: number,
): Promise<TracedAdaptive> {
  const beside = (): Vector => createVector(start.length, start);
  const parameters = beside();
  const weights = { in: beside(), out: beside() };
  try {
    await fuseAdaptive(
      { parameters, start, tauIn, tauOut },
      { in: importance!.in.score, out: importance!.out.score },
      temperature,
      weights,
    );
    return {
      weightIn: await weights.in.read(),
      weightOut: await weights.out.read(),
      theta: await parameters.read(),
    };
  } finally {
    for (const vector of [parameters, weights.in, weights.out]) vector.dispose();
  }
}

const loopName = (loop: number): "inner" | "outer" => (loop === 0 ? "inner" : "outer");

class RecordedRun extends TaskRun {
  readonly steps: TracedStep[];
  readonly cycles: TracedCycle[] = [];
  adaptive: TracedAdaptive | undefined;
  readonly #settings: RecurrentSettings;

  constructor(parts: TaskRunParts, settings: RecurrentSettings) {
    const steps: TracedStep[] = [];
    const onStep = ({ loop, learningRate: lr }: StepRequest, { loss, gradNorm }: StepResult): void => {
      steps.push({ cycle: this.cycles.length, loop: loopName(loop), lr, loss, gradNorm });
    };
    super({ ...parts, onStep });
    this.steps = steps;
    this.#settings = settings;
  }

  override async step(request: StepRequest): Promise<void> {
    const schedule = this.#settings.outer_schedule;
    // The method plans its outer steps by the task's cycles; the recorded schedule ends at a step that no number of cycles gives.
    const lr =
      loopName(request.loop) === "outer" && schedule !== null
        ? learningRateAt(request.step, {
            base: schedule.base,
            warmupSteps: schedule.warmup,
            totalSteps: schedule.total,
          })
        : request.learningRate;
    await super.step({ ...request, learningRate: lr });
  }

  override async cycle(report: CycleReport): Promise<void> {
    await this.settle();
    const { vectors, importance, masks } = report;
    if (!importance || !masks) throw new Error("the recorded forms select by masks of importance");
    this.cycles.push({
      in: await side({ tau: vectors.tauIn, ...importance.in }, masks.in),
      out: await side({ tau: vectors.tauOut, ...importance.out }, masks.out),
      theta: await this.parameters.read(),
      counts: {
        in_only: report.onlyIn ?? NaN,
        out_only: report.onlyOut ?? NaN,
        both: report.both ?? NaN,
        neither: report.neither ?? NaN,
      },
    });
    if (this.cycles.length < this.#settings.cycles) return;
    this.adaptive = await adaptive(report, this.#settings.adaptive_tau);
    throw new Recorded();
  }
}

function recordedBatches(
  batches: readonly TrainingRecord[][],
  steps: number,
): ReturnType<TaskRunParts["taskBatches"]> {
  return {
    steps,
    at(step) {
      const batch = batches[step];
      if (batch === undefined) throw new Error(`the set records ${batches.length} batches, not step ${step}`);
      return batch;
    },
  };
}

export const runByMethod: RunRecurrent = async ({
  root,
  adapter,
  settings,
  inner,
  outer,
  device,
}: RecurrentSetup) => {
  const model = await loadWithAdapter(root, adapter, {}, device);
  const run = new RecordedRun(
    {
      task: { index: 1, name: "recorded" },
      options: {
        seed: 0,
        learningRate: settings.inner_schedule.base,
        warmupSteps: settings.inner_schedule.warmup,
        weightDecay: settings.weight_decay,
        maxGradNorm: settings.max_grad_norm,
        microBatchSize: null,
        selectBestOnDev: false,
        devEvery: 1,
      },
      model,
      memorySize: outer.length,
      taskBatches: () => recordedBatches(inner, settings.inner_schedule.total),
      memoryBatches: () => recordedBatches(outer, Infinity),
      devRecords: [],
      counters: newTaskCounters(),
      dropout: false,
    },
    settings,
  );
  try {
    await recurrentKif.learn(run, recordedOptions(settings));
    throw new Error("the method ended before the recorded cycles were over");
  } catch (error) {
    if (!(error instanceof Recorded)) throw error;
    if (run.adaptive === undefined)
      throw new Error("a recurrent set has at least one cycle", { cause: error });
    return {
      steps: run.steps,
      cycles: run.cycles,
      adaptive: run.adaptive,
      layout: model.layout.map(({ name, shape, offset }) => ({ key: name, shape, offset })),
    };
  } finally {
    run.dispose();
    model.dispose();
  }
};
