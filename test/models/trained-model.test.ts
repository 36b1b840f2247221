import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { readAdapterConfig } from "../../lib/models/adapter-config.js";
import { loadAdapter } from "../../lib/models/adapter.js";
import {
  embeddedModel,
  loadModel,
  type LoadModelOptions,
  saveTrained,
} from "../../lib/models/trained-model.js";
import { inspectCuda } from "../../lib/native/cuda.js";
import { failure, withFolder } from "./tiny-safetensors.js";

const lora = {
  kind: "lora",
  r: 2,
  alpha: 4,
  dropout: 0.1,
  rsLora: false,
  rankPattern: {},
  alphaPattern: {},
} as const;
const none = { kind: "none" } as const;

/** Runs `use` with a model that is disposed of after. */
async function withModel<T>(
  options: Partial<LoadModelOptions>,
  use: (trained: Awaited<ReturnType<typeof loadModel>>) => Promise<T> | T,
): Promise<T> {
  const trained = await loadModel({ model: "embedded", trainable: none, ...options });
  try {
    return await use(trained);
  } finally {
    trained.model.dispose();
  }
}

/** The embedded checkpoint with other files in it. */
async function variant(folder: string, files: Record<string, object>): Promise<string> {
  await mkdir(folder);
  for (const file of await readdir(embeddedModel))
    await copyFile(join(embeddedModel, file), join(folder, file));
  for (const [file, content] of Object.entries(files))
    await writeFile(join(folder, file), JSON.stringify(content));
  return folder;
}

describe("models/trained-model", () => {
  describe("without a GPU", () => {
    before(function () {
      if (inspectCuda().problems.length === 0) this.skip();
    });

    it('refuses "cuda" with what is missing, and no model is left behind', async () => {
      const error = await failure(() => loadModel({ model: "embedded", trainable: none, device: "cuda" }));
      expect(error).to.have.property("code", "CUDA_UNAVAILABLE");
      expect((error as Error).message).to.match(/^no GPU can be used: .*\nPossible solutions:/s);
    });

    it('takes the CPU with "auto", and says so', async () => {
      await withModel({ device: "auto" }, ({ warnings }) => {
        expect(warnings.filter((line) => line.startsWith("device auto: the CPU, since "))).to.have.length(1);
      });
      await withModel({}, ({ warnings }) => expect(warnings.join()).not.to.include("device"));
    });
  });

  describe("a limit of the GPU's memory", () => {
    it("has no effect on the CPU, and that is said", async () => {
      await withModel({ device: "cpu", deviceMemoryLimit: 1e9 }, ({ warnings }) => {
        expect(warnings).to.include("deviceMemoryLimit has no effect: the model computes on the CPU");
      });
    });

    it("is a number of bytes", async () => {
      for (const deviceMemoryLimit of [0, -1, 1.5, NaN]) {
        const error = await failure(() =>
          loadModel({ model: "embedded", trainable: none, deviceMemoryLimit }),
        );
        expect(error).to.have.property("code", "INVALID_ARGUMENT");
        expect((error as Error).message).to.equal(
          `deviceMemoryLimit is ${deviceMemoryLimit}; expected a number of bytes above 0`,
        );
      }
    });
  });

  it("puts an adapter on the family's queries and values where no target is named", async () => {
    await withModel(
      { trainable: { ...lora, targetModules: null } },
      ({ trainable, model, config, folder }) => {
        expect(trainable).to.deep.equal({ ...lora, targetModules: ["q", "v"] });
        expect(model.layout.map(({ name }) => name.split(".").at(-3))).to.include.members(["q", "v"]);
        expect(model.layout.every(({ name }) => /\.(q|v)\.lora_[AB]\.weight$/.test(name))).to.equal(true);
        expect(config).to.include({ family: "t5", modelType: "t5" });
        expect(folder).to.equal(embeddedModel);
      },
    );
  });

  it("names the layers that all-linear stands for, the head not among them", async () => {
    await withModel({ trainable: { ...lora, targetModules: "all-linear" } }, ({ trainable, model }) => {
      expect(trainable).to.deep.include({ targetModules: ["k", "o", "q", "v", "wi", "wo"] });
      expect(model.layout.some(({ name }) => name.includes("lm_head"))).to.equal(false);
    });
  });

  it("loads a model without adapter: nothing trains, and nothing can be saved", async () => {
    await withModel({}, async (trained) => {
      expect(trained.trainable).to.deep.include({ kind: "lora", targetModules: [] });
      expect(trained.model.layout).to.deep.equal([]);
      expect(trained.model.parameters.length).to.equal(0);
      const error = await failure(saveTrained(trained, "/nowhere", { baseName: "embedded" }));
      expect(error).to.include({ code: "INVALID_ARGUMENT" });
      expect(error.message).to.contain("/nowhere").and.contain("without an adapter");
    });
  });

  it("goes on with a saved adapter: its shape and values, the dropout that is asked for", async () => {
    await withFolder(async (folder) => {
      const shape = { ...lora, r: 3, alpha: 9, dropout: 0.25, targetModules: ["SelfAttention.q", "wo"] };
      const values = await withModel({ trainable: shape }, async (trained) => {
        const { parameters } = trained.model;
        parameters.set(Float32Array.from({ length: parameters.length }, (_, i) => Math.sin(i)));
        await saveTrained(trained, folder, { baseName: "embedded" });
        return parameters.read();
      });
      const { kind: _, ...config } = shape;
      expect(await readAdapterConfig(folder)).to.deep.equal(config);
      await withModel({ adapter: folder }, async ({ trainable, model }) => {
        expect(trainable).to.deep.equal(shape);
        expect(await model.parameters.read()).to.deep.equal(values);
      });
      const other = { ...lora, targetModules: ["v"] };
      await withModel({ adapter: folder, trainable: other }, ({ trainable }) => {
        expect(trainable).to.deep.equal({ ...shape, dropout: other.dropout });
      });
      // Into a model that has the shape already, and not into one that has another.
      await withModel({ trainable: shape }, async (trained) => {
        await loadAdapter(trained, folder);
        expect(await trained.model.parameters.read()).to.deep.equal(values);
      });
      await withModel({ trainable: other }, async (trained) => {
        expect(await failure(loadAdapter(trained, folder))).to.include({ code: "CHECKPOINT_MISMATCH" });
      });
      for (const attempt of [
        () => loadModel({ model: "embedded", trainable: { kind: "full" }, adapter: folder }),
        () => withModel({ trainable: { kind: "full" } }, (trained) => loadAdapter(trained, folder)),
      ]) {
        const error = await failure(attempt());
        expect(error).to.include({ code: "INVALID_ARGUMENT" });
        expect(error.message).to.contain(folder).and.contain("every weight trains");
      }
    });
  });

  it("warns of patterns that have no effect", async () => {
    const trainable = { ...lora, targetModules: ["q"], alphaPattern: { value: 3 } };
    await withModel({ trainable }, ({ warnings }) => {
      expect(warnings).to.have.lengthOf(1);
      expect(warnings[0]).to.contain('"value"').and.contain("no effect");
    });
  });

  it("ends with the checkpoint's end tokens, or the tokenizer's where it names none", async () => {
    await withModel({}, ({ endTokenIds, endTokenId }) => {
      expect({ endTokenIds, endTokenId }).to.deep.equal({ endTokenIds: [1], endTokenId: 1 });
    });
    await withFolder(async (folder) => {
      const several = await variant(join(folder, "several"), {
        "generation_config.json": { eos_token_id: [7, 1] },
      });
      await withModel({ model: several }, ({ endTokenIds, endTokenId }) => {
        expect({ endTokenIds, endTokenId }).to.deep.equal({ endTokenIds: [7, 1], endTokenId: 7 });
      });
    });
  });

  it("refuses a tokenizer that has more entries than the model", async () => {
    await withFolder(async (folder) => {
      const config = JSON.parse(await readFile(join(embeddedModel, "config.json"), "utf8")) as object;
      const small = await variant(join(folder, "small"), { "config.json": { ...config, vocab_size: 9 } });
      const error = await failure(loadModel({ model: small, trainable: none }));
      expect(error).to.include({ code: "CHECKPOINT_MISMATCH" });
      expect(error.message).to.contain("tokenizer.json").and.contain("vocabulary is 9");
    });
  });

  it("writes a whole checkpoint where every weight trained, with what belongs to it", async () => {
    await withFolder(async (folder) => {
      const files = {
        "generation_config.json": { eos_token_id: 1 },
        "added_tokens.json": {},
        "notes.json": {},
      };
      const model = await variant(join(folder, "base"), files);
      const target = join(folder, "saved");
      const values = await withModel({ model, trainable: { kind: "full" } }, async (trained) => {
        trained.model.parameters.scale(0.5);
        await saveTrained(trained, target, { baseName: "embedded" });
        return trained.model.parameters.read();
      });
      const expected = (await readdir(model)).filter((file) => file !== "notes.json");
      expect(await readdir(target)).to.have.members(expected);
      await withModel({ model: target, trainable: { kind: "full" } }, async (trained) => {
        expect(await trained.model.parameters.read()).to.deep.equal(values);
      });
    });
  });
});
