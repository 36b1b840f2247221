import { join } from "node:path";
import { z } from "zod";
import type { RkifError } from "../../errors.js";
import { checkFields, readJsonFile } from "../json-file.js";
import { invalid, tokenId } from "./fields.js";

/** One id, or a list where generation may end with any of several tokens; null: none. */
export const endTokenField = z.union([tokenId, z.array(tokenId)], "a token id or a list of them").nullable();

const generationSchema = z.looseObject({ eos_token_id: endTokenField.optional() }, "an object");

/**
 * The end tokens as a list without repetitions.
 * @throws {RkifError} CONFIG_INVALID where one lies beyond the vocabulary.
 */
export function endTokens(
  ids: z.infer<typeof endTokenField> | undefined,
  vocabSize: number,
  file: string,
): number[] {
  const all = [...new Set([ids ?? []].flat())];
  if (all.some((id) => id >= vocabSize)) {
    throw invalid(file, "eos_token_id", ids, `less than "vocab_size", ${vocabSize}`);
  }
  return all;
}

/**
 * The end tokens that generation_config.json of a checkpoint folder names; none where there is no such file. Chat models name there
 * the end of a turn, which their config.json often lacks.
 * @throws {RkifError} CONFIG_INVALID naming the file.
 */
export async function readGenerationEndTokens(folder: string, vocabSize: number): Promise<number[]> {
  const file = join(folder, "generation_config.json");
  const content = await readJsonFile(file, "CONFIG_INVALID").catch((error: RkifError) => {
    if ((error.cause as NodeJS.ErrnoException | undefined)?.code === "ENOENT") return {};
    throw error;
  });
  const { eos_token_id } = checkFields(generationSchema, content, file, "CONFIG_INVALID");
  return endTokens(eos_token_id, vocabSize, file);
}
