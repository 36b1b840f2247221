import { parseSize } from "../models/size.js";
import type { LoadModelOptions } from "../models/trained-model.js";
import type { LearnerOptions } from "./options.js";

/** What a model is loaded with, but for what trains. */
export function loadOptions(
  config: Pick<
    LearnerOptions,
    "model" | "baseType" | "copyWeights" | "adapter" | "memory" | "threads" | "device" | "deviceMemoryLimit"
  > &
    Partial<Pick<LearnerOptions, "gradientCheckpointing">>,
): Omit<LoadModelOptions, "trainable"> {
  const { model, baseType, copyWeights, adapter, memory, threads, device, gradientCheckpointing } = config;
  const { deviceMemoryLimit: limit } = config;
  return {
    ...{ model, baseType, copyWeights, threads, device },
    ...(gradientCheckpointing === undefined ? {} : { gradientCheckpointing }),
    ...(adapter === null ? {} : { adapter }),
    ...(memory === null ? {} : { memory: parseSize(memory, "memory") }),
    ...(limit === null ? {} : { deviceMemoryLimit: parseSize(limit, "deviceMemoryLimit") }),
  };
}
