import { RkifError } from "../errors.js";
import type { LoadModelOptions } from "../models/trained-model.js";
import {
  configDifferences,
  mergedConfig,
  resolveConfig,
  splitConfig,
  type ResolvedConfig,
} from "./config.js";
import { readJson, type RunFolder } from "./run-folder.js";

/** What trains, as the model is loaded with it. */
export function trainableOf(config: ResolvedConfig): LoadModelOptions["trainable"] {
  if (config.trainable === "full") return { kind: "full" };
  return {
    kind: "lora",
    r: config.loraRank,
    alpha: config.loraAlpha,
    dropout: config.loraDropout,
    rsLora: config.rsLora,
    targetModules: config.targetModules,
    rankPattern: config.rankPattern,
    alphaPattern: config.alphaPattern,
  };
}

/** The configuration in the run folder, checked, and completed where an earlier version had fewer options. */
export async function keptConfig(folder: RunFolder): Promise<ResolvedConfig> {
  const { learner, data } = splitConfig(await readJson<Record<string, unknown>>(folder.config));
  return Object.assign(resolveConfig(learner, folder.config), data);
}

/**
 * The configuration a run goes on with.
 * @throws {RkifError} RUN_CONFLICT naming the options that differ and may not.
 */
export function agreed(
  kept: ResolvedConfig,
  given: ResolvedConfig | undefined,
  folder: RunFolder,
): ResolvedConfig {
  if (!given) return kept;
  const differences = configDifferences(kept, given);
  if (differences.length === 0) return mergedConfig(kept, given);
  const lines = differences.map(
    (name) => `${name}: ${JSON.stringify(kept[name])} there, ${JSON.stringify(given[name])} given`,
  );
  throw new RkifError(
    "RUN_CONFLICT",
    `${folder.path} holds a run of another configuration (${lines.join("; ")}); use another folder, or the same options`,
  );
}
