import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { openFormat, type FormatModel } from "../../lib/data/formats/open-format.js";
import type { FormatOptions } from "../../lib/data/formats/record-format.js";
import { demoTasks } from "../../lib/demo/tasks.js";
import { createAbortFlag } from "../../lib/models/kernels.js";
import { TokenCache } from "../../lib/models/token-cache.js";
import { Tokenizer } from "../../lib/models/tokenizer.js";
import { embeddedModel } from "../../lib/models/trained-model.js";
import { tokenizeAhead } from "../../lib/training/tokenize-ahead.js";
import { folderWith, removeFolders } from "../data/folder.js";

describe("tokens made ahead", function () {
  this.timeout(60_000);
  afterEach(removeFolders);
  const task = demoTasks(1, { train: 900, dev: 0, test: 900 })[0]!;

  async function openModel(
    family: FormatModel["config"]["family"],
  ): Promise<FormatModel & { cache: string }> {
    const cache = join(await folderWith({}), "tokens");
    const tokenizer = await Tokenizer.open(embeddedModel, { cache: new TokenCache(cache, { limit: 1e9 }) });
    const ends = family === "encoder" ? [] : [1];
    return {
      ...{ config: { family, maxTokens: null }, tokenizer, folder: embeddedModel, cache },
      ...{ endTokenIds: ends, endTokenId: ends[0] ?? null },
    };
  }
  const entries = (cache: string): Promise<string[]> => readdir(cache).catch(() => []);

  const cases: [family: FormatModel["config"]["family"], options: FormatOptions, entries: number][] = [
    ["t5", {}, 2], // prompts of train and test; outputs are few characters
    ["decoder", {}, 3], // and prompts with their answers
    ["encoder", {}, 2],
  ];
  for (const [family, options, count] of cases) {
    it(`are all that a ${family}'s task takes when it is learned`, async () => {
      const loaded = await openModel(family);
      await tokenizeAhead({ loaded, config: options }, task, createAbortFlag());
      const ahead = await entries(loaded.cache);
      expect(ahead).to.have.length(count);
      const format = await openFormat(loaded, options);
      await format.addLabels(task.labels);
      await format.encode(task.train);
      await format.encodePrompts(task.test);
      expect(await entries(loaded.cache)).to.have.members(ahead);
    });
  }

  it("stop with the run", async () => {
    const loaded = await openModel("t5");
    const abort = createAbortFlag();
    abort.abort();
    await tokenizeAhead({ loaded, config: {} }, task, abort);
    expect(await entries(loaded.cache)).to.deep.equal([]);
    const error = await (loaded.tokenizer as Tokenizer).encode(["a", "b"], { abort }).catch((e: Error) => e);
    expect(error).to.include({ code: "ABORTED", message: "stopped after 0 of 2 texts" });
  });
});
