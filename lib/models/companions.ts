import { copyFile } from "node:fs/promises";
import { join } from "node:path";

/** What stands beside the weights in a checkpoint folder and is needed to use them: the model's configuration and the tokenizer's. */
const companions = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
  "chat_template.json",
  // What tokenizers of older forms are made from.
  "tokenizer.model",
  "spiece.model",
  "sentencepiece.bpe.model",
  "vocab.json",
  "vocab.txt",
  "merges.txt",
];

/** Copies those that there are; links, as the hub's cache has them, are followed. */
export async function copyCompanions(from: string, to: string): Promise<void> {
  for (const file of companions) {
    await copyFile(join(from, file), join(to, file)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
  }
}
