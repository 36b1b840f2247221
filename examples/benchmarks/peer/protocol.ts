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

/** Most bytes that were ever resident. */
export interface MemoryRequest {
  do: "memory";
}
export interface MemoryAnswer {
  peak: number;
}

/** Loss of a batch without dropout and without gradients; of the peer, see start.mjs for this side. */
export interface LossRequest {
  do: "loss";
  batch: Batch;
}

export type Request =
  LoadRequest | CheckRequest | StepRequest | GenerateRequest | ScoreRequest | MemoryRequest;

/** As published: r 8, alpha 32, dropout 0.05, on queries and values. */
export const lora = { r: 8, alpha: 32, dropout: 0.05 } as const;
export const learningRate = 3e-4;
export const maxGradNorm = 1;
