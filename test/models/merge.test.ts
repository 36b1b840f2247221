import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { writeAdapterConfig } from "../../lib/models/adapter-config.js";
import { adapterKey } from "../../lib/models/adapter.js";
import { mergeAdapter, type PlannedTensor, splitIntoShards } from "../../lib/models/merge.js";
import type { SafetensorsFile } from "../../lib/native/contract.js";
import { loadAddon } from "../../lib/native/load.js";
import { failure, withFolder } from "./tiny-safetensors.js";

const fixtures = join(import.meta.dirname, "../fixtures/data");
const model = join(fixtures, "models/t5");
const lora = { r: 3, alpha: 6, dropout: 0, rsLora: false, rankPattern: {}, alphaPattern: {} };

interface Values {
  type: string;
  shape: number[];
  bytes: number;
  values: Float32Array;
}

/** All weights in a folder, by name; fixtures hold further files. */
async function tensorsIn(folder: string): Promise<Map<string, Values>> {
  const tensors = new Map<string, Values>();
  for (const name of (await readdir(folder))
    .filter((file) => /^(adapter_)?model.*safetensors$/.test(file))
    .sort()) {
    const file = await loadAddon().openSafetensors(join(folder, name));
    for (const { name: tensor, type, shape, byteLength } of file.tensors) {
      expect(tensors.has(tensor), tensor).to.equal(false);
      tensors.set(tensor, { type, shape, bytes: byteLength, values: await file.readFloat32(tensor) });
    }
    file.dispose();
  }
  return tensors;
}

/** An adapter of queries and values for a checkpoint; every value between -0.5 and 0.5. */
async function writeAdapter(folder: string, base: string): Promise<string> {
  await mkdir(folder);
  const values = (length: number, factor: number): Float32Array =>
    Float32Array.from({ length }, (_, i) => ((i * factor) % 101) / 101 - 0.5);
  const tensors = [...(await tensorsIn(base))].flatMap(([name, { shape }]) => {
    const [rows, columns] = shape as [number, number];
    if (!/\.[qv]\.weight$/.test(name)) return [];
    const module = name.replace(/\.weight$/, "");
    return [
      { name: adapterKey(module, "A"), shape: [lora.r, columns], from: values(lora.r * columns, 37) },
      { name: adapterKey(module, "B"), shape: [rows, lora.r], from: values(rows * lora.r, 53) },
    ];
  });
  const file = join(folder, "adapter_model.safetensors");
  await loadAddon().writeSafetensors(
    file,
    tensors.map((tensor) => ({ ...tensor, type: "F32" as const })),
  );
  await writeAdapterConfig(folder, { ...lora, targetModules: ["q", "v"] }, { family: "t5", baseModel: null });
  return folder;
}

/** W + scale * B A in double precision. */
function merged(w: Values, a: Values, b: Values, scale: number): Float64Array {
  const [rows, columns, rank] = [w.shape[0]!, w.shape[1]!, a.shape[0]!];
  return Float64Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += b.values[row * rank + k]! * a.values[k * columns + column]!;
    return w.values[i]! + scale * sum;
  });
}

/** Checks a merged folder against its base and adapter, and gives the names of the weights that changed. */
async function compare(out: string, base: string, adapter: string, tolerance: number): Promise<string[]> {
  const [before, after, low] = [await tensorsIn(base), await tensorsIn(out), await tensorsIn(adapter)];
  expect([...after.keys()].sort()).to.deep.equal([...before.keys()].sort());
  const changed = [];
  for (const [name, w] of before) {
    const found = after.get(name)!;
    expect(found).to.include({ type: w.type, bytes: w.bytes });
    expect(found.shape).to.deep.equal(w.shape);
    const module = name.replace(/\.weight$/, "");
    const [a, b] = [low.get(adapterKey(module, "A")), low.get(adapterKey(module, "B"))];
    if (a === undefined || b === undefined) {
      expect(found.values, name).to.deep.equal(w.values);
      continue;
    }
    changed.push(name);
    const expected = merged(w, a, b, lora.alpha / lora.r);
    const off = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - found.values[i]!)), 0);
    const change = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - w.values[i]!)), 0);
    expect(off, name).to.be.below(tolerance);
    expect(change, name).to.be.above(0.1);
  }
  return changed;
}

/** A copy of a checkpoint to change. */
async function copyOf(folder: string, files: readonly string[], from: string = model): Promise<void> {
  await mkdir(folder);
  for (const file of files) await copyFile(join(from, file), join(folder, file));
}

describe("models/merge", () => {
  let adapters: string;
  let adapter: string;
  before(async () => {
    adapters = await mkdtemp(join(tmpdir(), "rkif-merge-"));
    adapter = await writeAdapter(join(adapters, "t5"), model);
  });
  after(() => rm(adapters, { recursive: true }));

  it("adds the adapter to the layers it adapts, and copies all else", async () => {
    await withFolder(async (folder) => {
      const out = join(folder, "new", "merged");
      const progress: [number, number][] = [];
      const report = await mergeAdapter({ model, adapter, out, onProgress: (...at) => progress.push(at) });
      expect(report).to.include({ out, modules: 12 });
      expect(report.files).to.deep.equal(["model.safetensors"]);
      expect(progress).to.deep.equal([
        [0, report.bytes],
        [report.bytes, report.bytes],
      ]);
      expect(await readdir(join(folder, "new"))).to.deep.equal(["merged"]);
      expect(await readdir(out)).to.have.members(["config.json", "model.safetensors"]);
      expect(await readFile(join(out, "config.json"))).to.deep.equal(
        await readFile(join(model, "config.json")),
      );
      expect(await compare(out, model, adapter, 1e-6)).to.have.lengthOf(12);
    });
  });

  it("keeps the stored type, rounding once", async () => {
    await withFolder(async (folder) => {
      const out = join(folder, "merged");
      const base = join(fixtures, "models/t5-bf16");
      const ofBase = await writeAdapter(join(folder, "adapter"), base);
      await mergeAdapter({ model: base, adapter: ofBase, out });
      const types = [...(await tensorsIn(out)).values()].map(({ type }) => type);
      expect(new Set(types)).to.deep.equal(new Set(["BF16"]));
      // Half of bfloat16's spacing below 2.
      await compare(out, base, ofBase, 2 ** -8 + 1e-6);
    });
  });

  it("splits large weights as transformers does, and names the parts in an index", async () => {
    await withFolder(async (folder) => {
      const out = join(folder, "merged");
      const maxShardBytes = 30_000;
      const { files, bytes } = await mergeAdapter({ model, adapter, out, maxShardBytes });
      const count = files.length;
      expect(count).to.be.above(2);
      expect(files).to.deep.equal(files.map((_, i) => `model-0000${i + 1}-of-0000${count}.safetensors`));
      await compare(out, model, adapter, 1e-6);
      const text = await readFile(join(out, "model.safetensors.index.json"), "utf8");
      const index = JSON.parse(text) as { metadata: object; weight_map: Record<string, string> };
      expect(index.metadata).to.deep.equal({ total_size: bytes });
      expect(Object.keys(index.weight_map)).to.deep.equal([...(await tensorsIn(model)).keys()].sort());
      for (const name of files) {
        const file = await loadAddon().openSafetensors(join(out, name));
        const held = file.tensors.map((tensor) => tensor.name);
        expect(file.tensors.reduce((sum, { byteLength }) => sum + byteLength, 0)).to.be.at.most(
          maxShardBytes,
        );
        expect(held.map((tensor) => index.weight_map[tensor])).to.deep.equal(held.map(() => name));
        file.dispose();
      }
    });
  });

  it("reads shards, and leaves out what their index does not place", async () => {
    await withFolder(async (folder) => {
      const [base, out] = [join(folder, "base"), join(folder, "merged")];
      const sharded = join(fixtures, "models/t5-sharded");
      const names = (await readdir(sharded)).filter((name) => /\.(json|safetensors)$/.test(name));
      await copyOf(base, names, sharded);
      const indexPath = join(base, "model.safetensors.index.json");
      const index = JSON.parse(await readFile(indexPath, "utf8")) as { weight_map: Record<string, string> };
      const dropped = Object.keys(index.weight_map).find((name) => name.includes("final_layer_norm"))!;
      delete index.weight_map[dropped];
      await writeFile(indexPath, JSON.stringify(index));
      const ofBase = await writeAdapter(join(folder, "adapter"), base);
      await mergeAdapter({ model: base, adapter: ofBase, out });
      expect([...(await tensorsIn(out)).keys()]).to.have.members(Object.keys(index.weight_map));
      expect(await readdir(out))
        .to.include("model.safetensors")
        .and.not.include("model.safetensors.index.json");
    });
  });

  it("copies what belongs to the model and nothing else, through links", async () => {
    await withFolder(async (folder) => {
      const [base, out] = [join(folder, "base"), join(folder, "merged")];
      await copyOf(base, ["config.json", "model.safetensors"]);
      const blob = join(folder, "blob");
      await writeFile(blob, "a template");
      await symlink(blob, join(base, "chat_template.jinja"));
      const kept = ["tokenizer.json", "tokenizer_config.json", "tokenizer.model", "generation_config.json"];
      for (const name of [...kept, "pytorch_model.bin", "optimizer.pt"])
        await writeFile(join(base, name), "{}");
      await mkdir(out); // empty: it may be there
      await mergeAdapter({ model: base, adapter, out });
      const expected = ["config.json", "model.safetensors", "chat_template.jinja", ...kept];
      expect(await readdir(out)).to.have.members(expected);
      await rm(blob);
      expect(await readFile(join(out, "chat_template.jinja"), "utf8")).to.equal("a template");
    });
  });

  it("refuses a folder that holds something, and a path that is a file", async () => {
    await withFolder(async (folder) => {
      await writeFile(join(folder, "kept"), "");
      for (const out of [folder, join(folder, "kept")]) {
        const error = await failure(mergeAdapter({ model, adapter, out }));
        expect(error).to.include({ code: "INVALID_ARGUMENT" });
        expect(error.message).to.contain(out);
      }
      expect(await readdir(folder)).to.deep.equal(["kept"]);
    });
  });

  it("leaves nothing behind where it fails or is stopped", async () => {
    await withFolder(async (folder) => {
      const base = join(folder, "base");
      await copyOf(base, ["config.json", "model.safetensors"]);
      const out = join(folder, "merged");
      const stop = new AbortController();
      const stopped = mergeAdapter({
        ...{ model: base, adapter, out, maxShardBytes: 30_000, signal: stop.signal },
        onProgress: (done) => done > 0 && stop.abort(),
      });
      expect(await failure(stopped)).to.include({ code: "ABORTED" });
      await mkdir(join(base, "tokenizer.json")); // cannot be copied as a file
      expect(await failure(mergeAdapter({ model: base, adapter, out }))).to.be.an("error");
      expect(await readdir(folder)).to.deep.equal(["base"]);
    });
  });

  it("names what does not fit: a weight that is missing, and one of another shape", async () => {
    await withFolder(async (folder) => {
      const weights = await tensorsIn(model);
      const adapted = "decoder.block.0.layer.0.SelfAttention.q.weight";
      const write = async (name: string, change: (shape: number[]) => number[] | null): Promise<string> => {
        const base = join(folder, name);
        await copyOf(base, ["config.json"]);
        const tensors = [...weights].flatMap(([tensor, { shape, values }]) => {
          const changed = tensor === adapted ? change(shape) : shape;
          return changed ? [{ name: tensor, shape: changed, type: "F32" as const, from: values }] : [];
        });
        await loadAddon().writeSafetensors(join(base, "model.safetensors"), tensors);
        return base;
      };
      for (const [base, words] of [
        [await write("missing", () => null), [adapted, "which"]],
        [
          await write("turned", ([rows, columns]) => [columns! / 2, rows! * 2]),
          ["decoder.block.0.layer.0.SelfAttention.q.lora_A.weight", "expected"],
        ],
      ] as const) {
        const error = await failure(mergeAdapter({ model: base, adapter, out: join(folder, "merged") }));
        expect(error).to.include({ code: "CHECKPOINT_MISMATCH" });
        for (const word of words) expect(error.message).to.contain(word);
      }
      expect(await stat(join(folder, "merged")).catch(() => null)).to.equal(null);
    });
  });

  it("refuses a size that is none", async () => {
    for (const maxShardBytes of [0, 1.5, NaN]) {
      const error = await failure(mergeAdapter({ model, adapter, out: "/nowhere", maxShardBytes }));
      expect(error).to.include({ code: "INVALID_ARGUMENT" });
    }
  });

  it("fills shards in order, and gives a tensor beyond the size one of its own", () => {
    const tensors = (...sizes: number[]): PlannedTensor[] =>
      sizes.map((bytes, i) => ({ tensor: { name: String(i), from: {} as SafetensorsFile }, bytes }));
    const sizes = (...of: number[]): number[][] =>
      splitIntoShards(tensors(...of), 10).map((shard) => shard.map(({ bytes }) => bytes));
    expect(sizes(4, 6, 1)).to.deep.equal([[4, 6], [1]]);
    expect(sizes(4, 7, 2)).to.deep.equal([[4], [7, 2]]);
    expect(sizes(1, 25, 1, 9)).to.deep.equal([[1], [25], [1, 9]]);
    expect(sizes(10)).to.deep.equal([[10]]);
  });
});
