/** A recurrent set's settings, and what running it gives: the border between the set and whatever runs its algorithm. */
import { dirname, join } from "node:path";
import type { TrainingRecord } from "../../lib/methods/run.js";
import { records } from "./batches.js";
import { adapterBase, familyOf, type Family } from "./families.js";
import { readJson, type FixtureSet } from "./fixtures.js";
import type { TestDevice } from "./runtime.js";
import { readSafetensors } from "./safetensors.js";
import type { Schedule } from "./steps.js";

export interface RecurrentSettings {
  /** "paper" or "reference"; the settings below follow from it. */
  form: string;
  alpha1: number;
  alpha2: number;
  both: [number, number];
  neither: [number, number];
  mask: ">=" | ">";
  value: "before the step" | "after the step";
  outer_start: "theta_b" | "theta_b + tau_in";
  outer_optimizer: "its own" | "the inner one";
  cycles: number;
  inner_steps_per_cycle: number;
  outer_steps_per_cycle: number;
  quantile: number;
  max_grad_norm: number;
  weight_decay: number;
  betas: [number, number];
  eps: number;
  inner_schedule: Schedule;
  outer_schedule: Schedule | null;
  adaptive_tau: number;
}

export interface RecurrentSetup {
  readonly root: string;
  /** Folder of the adapter to start from, below the root. */
  readonly adapter: string;
  readonly family: Family;
  readonly settings: RecurrentSettings;
  /** Batches of all cycles' steps. */
  readonly inner: readonly TrainingRecord[][];
  readonly outer: readonly TrainingRecord[][];
  /** Where it is run; absent: on the tests' device. */
  readonly device?: TestDevice;
}

export interface TracedStep {
  cycle: number;
  loop: "inner" | "outer";
  lr: number;
  loss: number;
  /** Before clipping. */
  gradNorm: number;
}

/** One side (inner or outer) of a cycle's end. */
export interface TracedSide {
  tau: Float32Array;
  ibar: Float32Array;
  ubar: Float32Array;
  score: Float32Array;
  threshold: number;
  mask: Uint8Array;
}

export interface TracedCycle {
  in: TracedSide;
  out: TracedSide;
  /** The fused adapter. */
  theta: Float32Array;
  /** Counts of elements by the masks that chose them. */
  counts: { in_only: number; out_only: number; both: number; neither: number };
}

/** The adaptive form, from the last cycle's scores and task vectors. */
export interface TracedAdaptive {
  weightIn: Float32Array;
  weightOut: Float32Array;
  theta: Float32Array;
}

export interface Trace {
  steps: TracedStep[];
  cycles: TracedCycle[];
  adaptive: TracedAdaptive;
  /** Tensors of the vectors, in order. */
  layout: { key: string; shape: number[]; offset: number }[];
}

/** Runs the algorithm of a set from its adapter on its batches. */
export type RunRecurrent = (setup: RecurrentSetup) => Promise<Trace>;

/** Of a set named recurrent/NAME/FORM. */
export function readSetup(set: FixtureSet): RecurrentSetup {
  const folder = dirname(set.name);
  const settings = readJson<RecurrentSettings>(set.root, `${set.name}/trace.json`);
  const { adapter } = readJson<{ adapter: string }>(set.root, `${folder}/layout.json`);
  const family = familyOf(set.root, adapterBase(set.root, adapter));
  const batches = readSafetensors(join(set.root, folder, "batches.safetensors"));
  const take = (loop: string, stepsPerCycle: number): TrainingRecord[][] =>
    Array.from({ length: settings.cycles * stepsPerCycle }, (_, i) =>
      records(batches, family, `${loop}${i}.`),
    );
  return {
    root: set.root,
    adapter,
    family,
    settings,
    inner: take("inner", settings.inner_steps_per_cycle),
    outer: take("outer", settings.outer_steps_per_cycle),
  };
}
