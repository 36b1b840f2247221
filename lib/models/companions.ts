import { copyFile, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { exists } from "./exists.js";

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
  // How sentence-transformers takes the mean of an encoder's states.
  "modules.json",
  "sentence_bert_config.json",
  "config_sentence_transformers.json",
  "1_Pooling/config.json",
];

/** Copies those that there are; links, as the hub's cache has them, are followed. */
export async function copyCompanions(from: string, to: string): Promise<void> {
  for (const file of companions) {
    const source = join(from, file);
    if (!(await exists(source))) continue;
    await mkdir(dirname(join(to, file)), { recursive: true });
    await copyFile(source, join(to, file));
  }
}
