/** config.json of a checkpoint -> the family and hyperparameters that the addon loads it with. */
import { join } from "node:path";
import { openWithAddon, headInCheckpoint, type OpenSafetensors } from "../checkpoint-files.js";
import { readJsonFile } from "../json-file.js";
import { decoderTypes, resolveDecoderConfig } from "./decoder.js";
import { encoderTypes, resolveEncoderConfig } from "./encoder.js";
import { readGenerationEndTokens } from "./end-tokens.js";
import { modelTypeOf } from "./fields.js";
import type { ModelConfig } from "./model-config.js";
import { headDecides, resolveT5Config, t5Types } from "./t5.js";

export type { ModelConfig } from "./model-config.js";

type Resolver = (config: unknown, file: string) => ModelConfig;

const resolvers: ReadonlyMap<string, Resolver> = new Map<string, Resolver>([
  ...t5Types.map((type) => [type, (config, file) => resolveT5Config(config, file)] as [string, Resolver]),
  ...decoderTypes.map((type) => [type, resolveDecoderConfig] as [string, Resolver]),
  ...encoderTypes.map((type) => [type, resolveEncoderConfig] as [string, Resolver]),
]);

/** Values of `model_type` that can be loaded. */
export const supportedModelTypes: readonly string[] = [...resolvers.keys()];

/**
 * A model's configuration from the parsed content of its config.json alone; {@link readModelConfig} also asks the rest of the folder.
 * @param file - its path, for messages
 * @throws {RkifError} CONFIG_INVALID naming file and field; CONFIG_UNSUPPORTED where a model type or an option cannot be honoured.
 */
export function resolveModelConfig(config: unknown, file: string): ModelConfig {
  const type = modelTypeOf(config, file, supportedModelTypes);
  return (resolvers.get(type) as Resolver)(config, file);
}

/**
 * Reads config.json of a checkpoint folder, the end tokens of generation_config.json where it is there and names some, and of the
 * weights what config.json leaves open: whether a T5's head is its embedding.
 * @param files - the checkpoint's safetensors files
 * @throws {RkifError} CONFIG_INVALID naming file and field; CONFIG_UNSUPPORTED where a model type or an option cannot be honoured;
 * CHECKPOINT_INVALID where a file must be looked into and breaks its format.
 */
export async function readModelConfig(
  folder: string,
  files: readonly string[],
  open: OpenSafetensors = openWithAddon,
): Promise<ModelConfig> {
  const file = join(folder, "config.json");
  const config = await readJsonFile(file, "CONFIG_INVALID");
  let resolved = resolveModelConfig(config, file);
  if (resolved.family === "encoder") return resolved;
  // Comparing two embeddings may mean reading hundreds of megabytes.
  if (resolved.family === "t5" && headDecides(resolved.config)) {
    resolved = resolveT5Config(config, file, await headInCheckpoint(files, open));
  }
  const endTokenIds = await readGenerationEndTokens(folder, resolved.config.vocabSize);
  return endTokenIds.length > 0 ? { ...resolved, endTokenIds } : resolved;
}
