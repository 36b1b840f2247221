import { totalmem } from "node:os";
import { RkifError } from "../errors.js";
import type { BaseType, ModelFamily } from "../native/contract.js";
import { formatSize } from "./size.js";
import { fewWeights, layerWeights } from "./threads.js";

const baseTypes: readonly BaseType[] = ["float32", "bfloat16", "int8"];

/**
 * Bytes of a model's weights in memory, mapped pages included: layers in the base type, embeddings too but never below 16 bits, the
 * head in fp32. Without the adapter and what a step computes. Norms, biases and position tables do not count.
 */
export function weightBytes(model: ModelFamily, baseType: BaseType): number {
  const layer = { float32: 4, bfloat16: 2, int8: 1 }[baseType];
  const embedding = baseType === "float32" ? 4 : 2;
  const { weights, hasHead, tied } = vocabularyMatrix(model);
  return layerWeights(model) * layer + weights * ((hasHead ? 4 : 0) + (tied ? 0 : embedding));
}

/** The matrix of the embedding, and of the head where there is one: of its own, or the same. */
function vocabularyMatrix(model: ModelFamily): { weights: number; hasHead: boolean; tied: boolean } {
  switch (model.family) {
    case "t5": {
      const { vocabSize, dModel, tieWordEmbeddings: tied } = model.config;
      return { weights: vocabSize * dModel, hasHead: true, tied };
    }
    case "decoder": {
      const { vocabSize, hiddenSize, tieWordEmbeddings: tied } = model.config;
      return { weights: vocabSize * hiddenSize, hasHead: true, tied };
    }
    case "encoder":
      return { weights: model.config.vocabSize * model.config.hiddenSize, hasHead: false, tied: false };
  }
}

/**
 * Refuses a model that is larger than the limit before any of it is read.
 * @param limit - bytes
 * @throws {RkifError} OUT_OF_MEMORY, with what other base types would take.
 */
export function checkMemory(
  model: ModelFamily,
  { folder, baseType, limit, full }: { folder: string; baseType: BaseType; limit: number; full: boolean },
): void {
  // Where every weight trains, its gradient is as large.
  const bytes = weightBytes(model, baseType) * (full ? 2 : 1);
  if (bytes <= limit) return;
  const others = baseTypes
    .filter((type) => !full && weightBytes(model, type) < bytes)
    .map((type) => `${formatSize(weightBytes(model, type))} with baseType "${type}"`);
  const advice =
    others.length > 0 ? `expected at most that; they take ${others.join(", ")}` : "expected at most that";
  throw new RkifError(
    "OUT_OF_MEMORY",
    `${folder}: the weights${full ? " and their gradients" : ""} take ${formatSize(bytes)} as ${baseType}, more than the limit of ` +
      `${formatSize(limit)}; ${advice}`,
  );
}

/**
 * Whether layers are kept packed: in training twice, for the forward and the backward pass, with a copy of the head in bf16 on a bf16 base
 * (counted on every CPU, so that a run does the same on all). Small models' operations are too short to gain by it.
 * @param room - bytes that all weights may take
 */
export function prepackFits(
  model: ModelFamily,
  { baseType, room, full }: { baseType: BaseType; room: number; full: boolean },
): boolean {
  if (full || baseType === "int8" || layerWeights(model) < fewWeights) return false;
  const second = layerWeights(model) * (baseType === "float32" ? 4 : 2);
  const { weights, hasHead } = vocabularyMatrix(model);
  const head = hasHead && baseType === "bfloat16" ? weights * 2 : 0;
  return weightBytes(model, baseType) + second + head <= room;
}

/**
 * Half of what the machine or its container has, in bytes. What is free at the moment does not count: a run that goes on is to compute
 * the same bits.
 */
export function usualRoom(): number {
  // 0 or a huge number where there is no container that sets a limit.
  const container = process.constrainedMemory();
  return (container > 0 ? Math.min(container, totalmem()) : totalmem()) / 2;
}
