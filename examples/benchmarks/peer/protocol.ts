/** What the two sides are asked, one JSON document a line, and what they answer: here.ts and peer.py. */
import type { Batch } from "./batches.js";

export type Type = "float32" | "bfloat16";

/** How Python computes: bfloat16 by autocast over fp32 weights or with the base loaded in it, as it is or compiled. */
export interface Way {
  precision: "float32" | "autocast" | "bfloat16";
  compile: boolean;
}

export interface LoadRequest {
  do: "load";
  folder: string;
  /** The adapter's folder; both sides read the same. */
  adapter: string;
  threads: number;
  /** Of this side. */
  type: Type;
  /** Of the peer. */
  way: Way;
}

/** Loss and gradient norm of a batch without dropout; nothing is changed. */
export interface CheckRequest {
  do: "check";
  batch: Batch;
}
export interface CheckAnswer {
  loss: number;
  gradNorm: number;
}

/** A whole optimizer step with dropout: batch made ready, forward, backward, clipping, AdamW. */
export interface StepRequest {
  do: "step";
  batch: Batch;
}
export interface StepAnswer {
  loss: number;
  seconds: number;
}

export type Request = LoadRequest | CheckRequest | StepRequest;

/** As published: r 8, alpha 32, dropout 0.05, on queries and values. */
export const lora = { r: 8, alpha: 32, dropout: 0.05 } as const;
export const learningRate = 3e-4;
export const maxGradNorm = 1;
