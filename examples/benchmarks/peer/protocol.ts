/** What the two sides are asked, one JSON document a line, and what they answer: here.ts and peer.py. */
import type { OperatorTime } from "../../../lib/native/contract.js";
import type { Batch } from "./batches.js";

export type Type = "float32" | "bfloat16";
export type Device = "cpu" | "cuda";

/**
 * How Python computes: bfloat16 by autocast over fp32 weights, with the base loaded in it, or both (which rounds the fp32 adapter's products
 * as well); as it is or compiled.
 */
export interface Way {
  precision: "float32" | "autocast" | "bfloat16" | "mixed";
  compile: boolean;
}

export interface LoadRequest {
  do: "load";
  folder: string;
  /** The adapter's folder; both sides read the same. */
  adapter: string;
  threads: number;
  device: Device;
  /** Layers are computed again in the backward pass, on both sides. */
  gradientCheckpointing: boolean;
  /** Of this side. */
  type: Type;
  /** Of the peer. */
  way: Way | null;
}

/** Both sides' answer. */
export interface LoadAnswer {
  /** Trainable elements. */
  trainable: number;
}

/** Loss and gradient norm of a batch without dropout; nothing is changed. */
export interface CheckRequest {
  do: "check";
  batch: Batch;
}
export interface CheckAnswer {
  loss: number;
  gradNorm: number;
  /** Of the peer: what computes its attention, such as "sdpa". */
  attention?: string;
}

/** Whole optimizer steps with dropout: batch made ready, forward, backward, clipping, AdamW. */
export interface StepsRequest {
  do: "steps";
  batches: Batch[];
}
export interface StepsAnswer {
  /** Read when all steps are made: what waits for a device after every step waits longer. */
  losses: number[];
  /** Of all steps together, until the last one's parameters are there. */
  seconds: number;
}

/** Steps with every operator's time; this side only. */
export interface ProfileRequest {
  do: "profile";
  batches: Batch[];
}
export interface ProfileAnswer {
  /** Of all steps together. */
  seconds: number;
  operators: OperatorTime[];
}

/** Answers to prompts, greedily. */
export interface GenerateRequest {
  do: "generate";
  prompts: number[][];
  newTokens: number;
  /** Records at once; of the peer only, this side packs by tokens. */
  batch: number;
}
export interface GenerateAnswer {
  /** New tokens, the end token last where there was one. */
  answers: number[][];
  seconds: number;
}

/** The most probable of some options for every prompt; this side only. */
export interface ScoreRequest {
  do: "score";
  prompts: number[][];
  options: number[][];
}

/** Most bytes that were ever resident, and on a GPU those of libtorch's allocator, which both sides use. */
export interface MemoryRequest {
  do: "memory";
}
export interface MemoryAnswer {
  peak: number;
  device: DeviceMemory | null;
}
export interface DeviceMemory {
  /** In tensors at once. */
  allocated: number;
  /** Taken from the card: with what lay between tensors or was kept for later ones. */
  reserved: number;
}

/** Loss of a batch without dropout and without gradients; of the peer, see start.mjs for this side. */
export interface LossRequest {
  do: "loss";
  batch: Batch;
}

/** Recurrent-KIF over all tasks, in a process that has loaded nothing yet. */
export interface RunRequest extends Omit<LoadRequest, "do" | "way"> {
  do: "run";
  /** Of the peer. */
  way: Way;
  /** File with the tasks, see made-tasks.ts. */
  tasks: string;
  /** This side only: the run's folder. */
  run: string;
  epochs: number;
  batchSize: number;
  learningRate: number;
  warmupSteps: number;
  memoryFraction: number;
  sourceTokens: number;
  targetTokens: number;
  newTokens: number;
  /** Of the peer only: every evaluation is made in each of these ways. */
  evaluations: readonly RunEvaluation[];
  /** Of the peer only: records at once where it is `batched`. */
  evaluationBatch: number;
  /** The paper's; what it leaves open is as the method has it. */
  method: RunMethod;
}

/** One record at a time, as the published code has it, or transformers' batches. */
export type RunEvaluation = "published" | "batched";

export interface RunMethod {
  innerSteps: number;
  outerSteps: number;
  keepFraction: number;
  importanceDecay: number;
  uncertaintyDecay: number;
  outerLearningRate: number;
}

/** Of the peer: a run as it is with each way to evaluate; they differ in the evaluation's seconds and the total alone. */
export type PeerRunAnswer = Readonly<Partial<Record<RunEvaluation, RunAnswer>>>;

export interface RunAnswer {
  /** Seconds from the request on; the parts are within `total`, what is left is loading, tokenizing and writing. */
  seconds: {
    total: number;
    training: number;
    /** The method's own work. This side measures importance in the optimizer's pass, which counts as training. */
    method: number;
    evaluation: number;
  };
  /** Optimizer steps of all loops. */
  steps: number;
  cycles: number;
  /** Records kept of every task. */
  memory: number[];
  /** Test records that were answered, over all evaluations. */
  answered: number;
  /** Mean loss of the first task's first records before anything is learned, without dropout; no time is counted for it. */
  firstLoss: number;
  /** Whether every step's loss was finite. */
  finite: boolean;
}

/** The method's own work of a cycle on vectors alone, without a model's passes; see method.ts. */
export interface MethodRequest {
  do: "method";
  /** Shapes of the tensors that together are the trainable vector. */
  shapes: number[][];
  threads: number;
  device: Device;
  method: RunMethod;
  /** Learning rates of the steps of a cycle. */
  rates: { inner: number[]; outer: number[] };
  /** Folder with parameters and gradients (see method-vectors.ts), and where this side's or the peer's results are written. */
  folder: string;
  /** File for the results of the first cycle in that folder; null: none. */
  results: string | null;
  /** Cycles to time; one more is made before them. */
  cycles: number;
}
export interface MethodAnswer {
  /** Median seconds of a cycle's own work. */
  seconds: number;
}

/** Cycles of a run when some tasks have been learned; this side only. */
export interface CyclesRequest extends Omit<LoadRequest, "do" | "way"> {
  do: "cycles";
  run: string;
  batchSize: number;
  /** Counts of learned tasks, ascending. */
  learned: number[];
  /** Cycles to time at each; one more is made before them. */
  cycles: number;
}
export interface CyclesAnswer {
  /** Seconds of every timed cycle, for each of `learned`. */
  seconds: number[][];
  /** Memory records at each. */
  memory: number[];
}

export type Request =
  | LoadRequest
  | CheckRequest
  | StepsRequest
  | ProfileRequest
  | GenerateRequest
  | ScoreRequest
  | MemoryRequest
  | RunRequest
  | MethodRequest
  | CyclesRequest;

/** As published: r 8, alpha 32, dropout 0.05, on queries and values. */
export const lora = { r: 8, alpha: 32, dropout: 0.05 } as const;
export const learningRate = 3e-4;
export const maxGradNorm = 1;
