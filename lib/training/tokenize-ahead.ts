import { openFormat, type FormatModel } from "../data/formats/open-format.js";
import type { FormatOptions } from "../data/formats/record-format.js";
import type { TaskData } from "../data/tasks.js";
import type { AbortFlag } from "../native/contract.js";

/**
 * Brings the tokens of a task's records into the cache, from where they are taken when the task is learned. An error is left to be met
 * and told there.
 */
export async function tokenizeAhead(
  { loaded, config }: { loaded: FormatModel; config: FormatOptions },
  { train, test }: Pick<TaskData, "train" | "test">,
  abort: Pick<AbortFlag, "aborted">,
): Promise<void> {
  const { prefix, suffix, special, file } = loaded.tokenizer;
  const tokenizer: FormatModel["tokenizer"] = {
    ...{ prefix, suffix, special, file },
    encode: (texts, options) => loaded.tokenizer.encode(texts, { ...options, abort }),
    decode: (ids, skipSpecialTokens) => loaded.tokenizer.decode(ids, skipSpecialTokens),
  };
  try {
    const format = await openFormat({ ...loaded, tokenizer }, config);
    // An encoder's labels have no numbers yet, but its texts are what takes time.
    await (format.family === "encoder" ? format.encodePrompts(train) : format.encode(train));
    await format.encodePrompts(test);
  } catch {
    // See above.
  }
}
