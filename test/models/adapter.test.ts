import { expect } from "chai";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { adapterKey, checkTensors, readAdapter } from "../../lib/models/adapter.js";
import { failure, plainOpen, withFolder } from "./tiny-safetensors.js";

const linear = [0, 1].flatMap((layer) =>
  ["query", "key", "value"].map((name) => `encoder.layer.${layer}.attention.self.${name}`),
);

/** Writes an adapter folder with tensors of the given shapes, all zero. */
async function writeAdapter(
  folder: string,
  config: object,
  tensors: Record<string, readonly number[]>,
): Promise<void> {
  const whole = { peft_type: "LORA", r: 2, lora_alpha: 4, target_modules: ["query"], ...config };
  await writeFile(join(folder, "adapter_config.json"), JSON.stringify(whole));
  let end = 0;
  const header = Object.fromEntries(
    Object.entries(tensors).map(([name, shape]) => {
      const begin = end;
      end += 4 * shape.reduce((product, size) => product * size, 1);
      return [name, { dtype: "F32", shape, data_offsets: [begin, end] }];
    }),
  );
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await writeFile(
    join(folder, "adapter_model.safetensors"),
    Buffer.concat([length, text, Buffer.alloc(end)]),
  );
}

/** A and B of modules of width 6. */
function pairs(modules: readonly string[], rank: number = 2): Record<string, number[]> {
  return Object.fromEntries(
    modules.flatMap((module) => [
      [adapterKey(module, "A"), [rank, 6]],
      [adapterKey(module, "B"), [6, rank]],
    ]),
  );
}

const queries = linear.filter((module) => module.endsWith("query"));

describe("models/adapter", () => {
  it("reads an adapter as it fits a model, and closes its file", async () => {
    await withFolder(async (folder) => {
      const tensors = { ...pairs(queries.slice(0, 1)), ...pairs(queries.slice(1), 3) };
      await writeAdapter(folder, { rank_pattern: { "layer.1.*": 3 } }, tensors);
      const opened: { disposed: boolean }[] = [];
      const adapter = await readAdapter(folder, linear, plainOpen(opened));
      expect(adapter.modules).to.deep.equal([
        { module: queries[0], r: 2, scale: 2 },
        { module: queries[1], r: 3, scale: 4 / 3 },
      ]);
      expect(adapter.lora).to.deep.include({ targetModules: ["query"], rankPattern: { "layer.1.*": 3 } });
      expect(adapter).to.include({ prefix: "", file: join(folder, "adapter_model.safetensors") });
      expect(opened.map(({ disposed }) => disposed)).to.deep.equal([true]);
    });
  });

  for (const prefix of ["bert.", "roberta.", "distilbert."]) {
    it(`takes the adapter of a class that calls its encoder ${prefix.slice(0, -1)}`, async () => {
      await withFolder(async (folder) => {
        const config = {
          target_modules: `${prefix}encoder.*query`,
          rank_pattern: { [`${prefix}encoder.layer.1.attention.self.query`]: 3 },
        };
        const [first, second] = queries.map((module) => prefix + module);
        await writeAdapter(folder, config, { ...pairs([first!]), ...pairs([second!], 3) });
        const adapter = await readAdapter(folder, linear, plainOpen());
        expect(adapter.prefix).to.equal(prefix);
        expect(adapter.modules.map(({ module, r }) => [module, r])).to.deep.equal([
          [queries[0], 2],
          [queries[1], 3],
        ]);
        // As it will be written: for the encoder itself.
        expect(adapter.lora).to.deep.include({
          targetModules: queries,
          rankPattern: { "encoder\\.layer\\.1\\.attention\\.self\\.query": 3 },
        });
      });
    });
  }

  const [first] = queries;
  const wrong: [what: string, tensors: Record<string, readonly number[]>, words: string[]][] = [
    [
      "a tensor too few",
      pairs(queries.slice(0, 1)),
      [adapterKey(queries[1]!, "A"), "is missing", "[2, any]"],
    ],
    [
      "a tensor of no adapted module",
      pairs([...queries, linear[1]!]),
      [adapterKey(linear[1]!, "A"), "no adapted module"],
    ],
    [
      "a whole module beside the adapter",
      { ...pairs(queries), "base_model.model.classifier.weight": [2, 6] },
      ['"base_model.model.classifier.weight"', "no adapted module"],
    ],
    [
      "another rank than the configuration's",
      { ...pairs(queries), [adapterKey(first!, "B")]: [6, 3] },
      [adapterKey(first!, "B"), "is [6, 3]", "expected [any, 2]"],
    ],
    [
      "a name before the paths that means nothing",
      pairs(queries.map((module) => `x.${module}`)),
      ["is missing"],
    ],
  ];
  for (const [what, tensors, words] of wrong) {
    it(`refuses ${what}, and closes its file`, async () => {
      await withFolder(async (folder) => {
        await writeAdapter(folder, {}, tensors);
        const opened: { disposed: boolean }[] = [];
        const error = await failure(readAdapter(folder, linear, plainOpen(opened)));
        expect(error).to.include({ code: "CHECKPOINT_MISMATCH" });
        for (const word of [join(folder, "adapter_model.safetensors"), ...words]) {
          expect(error.message).to.contain(word);
        }
        expect(opened.map(({ disposed }) => disposed)).to.deep.equal([true]);
      });
    });
  }

  it("leaves out a pooler's, which plays no part, with or without its tensors", async () => {
    const targets = { target_modules: ["query", "pooler.dense"] };
    for (const stored of [queries, [...queries, "pooler.dense"]]) {
      await withFolder(async (folder) => {
        await writeAdapter(folder, targets, pairs(stored));
        const { modules, unused, lora } = await readAdapter(folder, linear, plainOpen());
        expect(modules.map(({ module }) => module)).to.deep.equal(queries);
        expect(unused.map(({ module }) => module)).to.deep.equal(stored.slice(queries.length));
        expect(lora.targetModules).to.deep.equal(queries);
      });
    }
  });

  it("takes an all-linear adapter that excludes the pooler", async () => {
    await withFolder(async (folder) => {
      await writeAdapter(folder, { target_modules: "all-linear", exclude_modules: ["dense"] }, pairs(linear));
      const { modules } = await readAdapter(folder, linear, plainOpen());
      expect(modules.map(({ module }) => module)).to.deep.equal(linear);
    });
  });

  it("says that adapters of the head are not supported", async () => {
    await withFolder(async (folder) => {
      await writeAdapter(folder, { target_modules: ["query", "lm_head"] }, pairs([...queries, "lm_head"]));
      const error = await failure(readAdapter(folder, linear, plainOpen()));
      expect(error.message).to.contain("lm_head").and.contain("adapters of the head");
    });
  });

  it("names the configuration where its targets fit no layer", async () => {
    await withFolder(async (folder) => {
      await writeAdapter(folder, { target_modules: ["q_proj"] }, pairs(queries));
      const error = await failure(readAdapter(folder, linear, plainOpen()));
      expect(error).to.include({ code: "INVALID_ARGUMENT" });
      expect(error.message).to.contain(join(folder, "adapter_config.json")).and.contain('"q_proj"');
    });
  });

  it("tells what to do with pickled weights", async () => {
    await withFolder(async (folder) => {
      await writeAdapter(folder, {}, pairs(queries));
      await rename(join(folder, "adapter_model.safetensors"), join(folder, "adapter_model.bin"));
      const error = await failure(readAdapter(folder, linear, plainOpen()));
      expect(error).to.include({ code: "CHECKPOINT_INVALID" });
      expect(error.message).to.contain("adapter_model.bin").and.contain("save_pretrained");
    });
  });

  it("compares shapes with every size that is known", async () => {
    await withFolder(async (folder) => {
      await writeAdapter(folder, {}, { w: [2, 3] });
      const file = await plainOpen()(join(folder, "adapter_model.safetensors"));
      const check = (...shape: (number | null)[]) =>
        failure(() => checkTensors(file, new Map([["w", shape]])));
      for (const shape of [[2, 4], [2], [2, 3, 1], [null, 2]]) {
        expect((await check(...shape)).message).to.contain('"w" is [2, 3]');
      }
      for (const shape of [
        [2, 3],
        [null, 3],
        [null, null],
      ])
        checkTensors(file, new Map([["w", shape]]));
    });
  });
});
