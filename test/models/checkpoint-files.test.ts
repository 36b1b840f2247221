import { expect } from "chai";
import { execFileSync } from "node:child_process";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { checkpointFiles, headInCheckpoint, readCheckpoint } from "../../lib/models/checkpoint-files.js";
import { failure, plainOpen, withFolder, writeTensors } from "./tiny-safetensors.js";

const one = "model-00001-of-00002.safetensors";
const two = "model-00002-of-00002.safetensors";

async function writeIndex(folder: string, weightMap: unknown, rest: object = {}): Promise<string> {
  const index = join(folder, "model.safetensors.index.json");
  await writeFile(index, JSON.stringify({ metadata: { total_size: 8 }, weight_map: weightMap, ...rest }));
  return index;
}

describe("models/checkpoint-files", () => {
  it("finds a single file, also where an index lies beside it", async () => {
    await withFolder(async (folder) => {
      const file = join(folder, "model.safetensors");
      await writeTensors(file, { a: [1], b: [2] });
      await writeIndex(folder, { a: "missing.safetensors" });
      const opened: { disposed: boolean }[] = [];
      const checkpoint = await readCheckpoint(folder, plainOpen(opened));
      expect(checkpoint.files).to.deep.equal([file]);
      expect([...checkpoint.tensors.keys()]).to.deep.equal(["a", "b"]);
      expect(checkpoint.warnings).to.deep.equal([]);
      expect(opened.every(({ disposed }) => disposed)).to.equal(true);
    });
  });

  it("finds shards, each once and by name, also behind links as in the hub's cache", async () => {
    await withFolder(async (folder) => {
      await mkdir(join(folder, "blobs"));
      await writeTensors(join(folder, "blobs", "x"), { b: [1] });
      await symlink(join("blobs", "x"), join(folder, one));
      await writeTensors(join(folder, two), { a: [1], c: [2] });
      await writeIndex(folder, { a: two, b: one, c: two });
      expect(await checkpointFiles(folder, plainOpen())).to.deep.equal([
        join(folder, one),
        join(folder, two),
      ]);
      const { tensors } = await readCheckpoint(folder, plainOpen());
      expect(Object.fromEntries(tensors)).to.deep.equal({
        a: join(folder, two),
        b: join(folder, one),
        c: join(folder, two),
      });
    });
  });

  it("ignores with a warning what a shard holds beyond the index", async () => {
    await withFolder(async (folder) => {
      await writeTensors(join(folder, one), { a: [1], stray: [5] });
      await writeTensors(join(folder, two), { b: [1], a: [9] });
      await writeIndex(folder, { a: one, b: two });
      const checkpoint = await readCheckpoint(folder, plainOpen());
      expect(checkpoint.tensors.get("a")).to.equal(join(folder, one));
      expect(checkpoint.skip).to.deep.equal({ [join(folder, one)]: ["stray"], [join(folder, two)]: ["a"] });
      expect(checkpoint.warnings).to.have.length(2);
      expect(checkpoint.warnings[0]).to.contain(one).and.contain('"stray"').and.contain("ignored");
    });
  });

  it("refuses a missing shard and a tensor that is not in its shard", async () => {
    await withFolder(async (folder) => {
      await writeTensors(join(folder, one), { a: [1] });
      await writeIndex(folder, { a: one, b: two, c: two });
      const missing = await failure(readCheckpoint(folder, plainOpen()));
      expect(missing).to.include({ code: "CHECKPOINT_INVALID" });
      expect(missing.message).to.contain("index.json").and.contain(two).and.contain("2 tensors");
      await writeIndex(folder, { a: one, b: one });
      const absent = await failure(readCheckpoint(folder, plainOpen()));
      expect(absent).to.include({ code: "CHECKPOINT_INVALID" });
      expect(absent.message).to.contain(`${join(folder, one)}: has no tensor "b"`);
    });
  });

  it("refuses an index that leads out of the folder", async () => {
    await withFolder(async (outer) => {
      const folder = join(outer, "checkpoint");
      await mkdir(folder);
      await writeTensors(join(outer, "other.safetensors"), { a: [1] });
      for (const shard of [
        join(outer, "other.safetensors"),
        "../other.safetensors",
        "sub/../../other.safetensors",
        "..\\other.safetensors",
        "other.safetensors\0",
        "pytorch_model.bin",
        "",
      ]) {
        await writeIndex(folder, { a: shard });
        const error = await failure(readCheckpoint(folder, plainOpen()));
        expect(error, shard).to.include({ code: "CHECKPOINT_INVALID" });
        expect(error.message).to.contain('places tensor "a" in').and.contain("below the checkpoint's folder");
      }
    });
  });

  it("refuses an index that is none", async () => {
    await withFolder(async (folder) => {
      for (const map of [undefined, null, [], "x", { a: 1 }, {}]) {
        await writeIndex(folder, map);
        const error = await failure(readCheckpoint(folder, plainOpen()));
        expect(error, JSON.stringify(map)).to.include({ code: "CHECKPOINT_INVALID" });
        expect(error.message).to.contain("weight_map");
      }
      await writeFile(join(folder, "model.safetensors.index.json"), "{");
      expect((await failure(readCheckpoint(folder, plainOpen()))).message).to.contain("is not JSON");
    });
  });

  it("refuses pickled weights with the command that converts them", async () => {
    await withFolder(async (outer) => {
      const folder = join(outer, "it's here");
      await mkdir(folder);
      await writeFile(join(folder, "pytorch_model.bin"), "pickle");
      const error = await failure(readCheckpoint(folder, plainOpen()));
      expect(error).to.include({ code: "CHECKPOINT_INVALID" });
      expect(error.message).to.contain("pytorch_model.bin");
      // A shell reads the command as one program and this very folder.
      const command = error.message.split("\n").at(-1) ?? "";
      const words = execFileSync("sh", ["-c", command.replace("python3", "printf '%s\\n'")], {
        encoding: "utf8",
      });
      const [option, program, argument] = words.split("\n");
      expect([option, argument]).to.deep.equal(["-c", folder]);
      expect(program).to.contain("save_pretrained(sys.argv[1])");
      for (const [type, name] of [
        ["t5", "AutoModelForSeq2SeqLM"],
        ["llama", "AutoModelForCausalLM"],
        ["bert", "AutoModel"],
      ] as const) {
        await writeFile(join(folder, "config.json"), JSON.stringify({ model_type: type }));
        const { message } = await failure(readCheckpoint(folder, plainOpen()));
        expect(message).to.contain(`import ${name} as M`);
      }
    });
  });

  it("refuses a folder that is missing, a file, or empty", async () => {
    await withFolder(async (folder) => {
      const empty = await failure(readCheckpoint(folder, plainOpen()));
      expect(empty).to.include({ code: "CHECKPOINT_INVALID" });
      expect(empty.message).to.contain(`${folder}: holds no weights; expected model.safetensors`);
      const path = join(folder, "file");
      expect((await failure(readCheckpoint(path, plainOpen()))).message).to.contain("is not a folder");
      await writeFile(path, "");
      expect((await failure(readCheckpoint(path, plainOpen()))).message).to.contain("is not a folder");
    });
  });

  it("compares the head with the embedding across shards, and closes what it opens", async () => {
    await withFolder(async (folder) => {
      const files = [join(folder, one), join(folder, two)];
      const opened: { disposed: boolean }[] = [];
      const head = async (first: Record<string, number[]>, second: Record<string, number[]>) => {
        await writeTensors(files[0] as string, first);
        await writeTensors(files[1] as string, second);
        return headInCheckpoint(files, plainOpen(opened));
      };
      expect(await head({ "shared.weight": [1, 2] }, { b: [1] })).to.deep.equal({
        present: false,
        equalsEmbedding: false,
      });
      expect(await head({ "shared.weight": [1, 2] }, { "lm_head.weight": [1, 2] })).to.deep.equal({
        present: true,
        equalsEmbedding: true,
      });
      for (const values of [
        [1, 3],
        [1, 2, 0],
      ]) {
        expect(
          await head({ "encoder.embed_tokens.weight": [1, 2] }, { "lm_head.weight": values }),
        ).to.deep.equal({ present: true, equalsEmbedding: false });
      }
      expect(opened).to.have.length(8);
      expect(opened.every(({ disposed }) => disposed)).to.equal(true);
    });
  });
});
