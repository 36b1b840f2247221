/** Tensors that go from file to file: as they are, or with a low-rank product added. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { SafetensorsFile, TensorToWrite } from "../../lib/native/contract.js";
import { addon, fp32, refused, rejected, vector } from "./addon.js";

describe("safetensors, from file to file", () => {
  let folder: string, out: string;
  const opened: SafetensorsFile[] = [];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rkif-copy-"));
    out = join(folder, "out.safetensors");
  });
  afterEach(() => {
    for (const file of opened.splice(0)) file.dispose();
    rmSync(folder, { recursive: true });
  });

  const open = async (path: string): Promise<SafetensorsFile> => {
    const file = await addon().openSafetensors(path);
    opened.push(file);
    return file;
  };
  const stored = async (tensors: TensorToWrite[], name = "in.safetensors"): Promise<SafetensorsFile> => {
    await addon().writeSafetensors(join(folder, name), tensors);
    return open(join(folder, name));
  };
  const matrix = (name: string, rows: number[][], type: TensorToWrite["type"] = "F32"): TensorToWrite => ({
    name,
    shape: [rows.length, rows[0]!.length],
    type,
    from: Float32Array.from(rows.flat()),
  });

  it("copies bytes of any type, under another name where asked, beside values from memory", async () => {
    const header = Buffer.from(
      JSON.stringify({
        ids: { dtype: "I64", shape: [1], data_offsets: [0, 8] },
        f8: { dtype: "F8_E4M3", shape: [3], data_offsets: [8, 11] },
        none: { dtype: "F32", shape: [0, 4], data_offsets: [11, 11] },
      }),
    );
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const path = join(folder, "in.safetensors");
    writeFileSync(path, Buffer.concat([length, header, Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])]));
    const from = await open(path);
    await addon().writeSafetensors(
      out,
      [
        { name: "f8", from },
        { name: "renamed", from, tensor: "ids" },
        { name: "none", from },
        { name: "v", shape: [1], type: "BF16", from: vector([2.5]) },
      ],
      { format: "pt" },
    );
    const file = await open(out);
    expect(file.tensors).to.deep.equal([
      { name: "renamed", type: "I64", shape: [1], byteLength: 8 },
      { name: "none", type: "F32", shape: [0, 4], byteLength: 0 },
      { name: "v", type: "BF16", shape: [1], byteLength: 2 },
      { name: "f8", type: "F8_E4M3", shape: [3], byteLength: 3 },
    ]);
    expect([...(await file.readBytes("renamed"))]).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8]);
    expect([...(await file.readBytes("f8"))]).to.deep.equal([9, 10, 11]);
    expect([...(await file.readFloat32("v"))]).to.deep.equal([2.5]);
  });

  it("adds scale * B A", async () => {
    const base = await stored([
      matrix("w", [
        [1, 2, 3],
        [4, 5, 6],
      ]),
    ]);
    const adapter = await stored([matrix("a", [[1, 0, -1]]), matrix("b", [[2], [3]])], "adapter.safetensors");
    await addon().writeSafetensors(out, [
      { name: "w", from: base, add: { from: adapter, a: "a", b: "b", scale: 0.5 } },
    ]);
    expect([...(await (await open(out)).readFloat32("w"))]).to.deep.equal([2, 2, 2, 5.5, 5, 4.5]);
  });

  it("rounds the sum once to the stored type", async () => {
    // The sum is 3/4 of the way from 1 to the next bfloat16; added one after the other, each part would round back to 1.
    const parts: [number, number] = [2 ** -8, 2 ** -9];
    const adapter = await stored(
      [matrix("a", [[parts[0]], [parts[1]]]), matrix("b", [[1, 1]])],
      "adapter.safetensors",
    );
    for (const [type, expected] of [
      ["BF16", 1 + 2 ** -7],
      ["F16", 1 + 2 ** -8 + 2 ** -9],
      ["F32", 1 + 2 ** -8 + 2 ** -9],
    ] as const) {
      const base = await stored([matrix("w", [[1]], type)], `${type}.safetensors`);
      const add = { from: adapter, a: "a", b: "b", scale: 1 };
      await addon().writeSafetensors(out, [{ name: "w", from: base, add }]);
      const file = await open(out);
      expect(file.tensors[0]!.type).to.equal(type);
      expect([...(await file.readFloat32("w"))], type).to.deep.equal([expected]);
    }
  });

  it("adds block by block to a matrix that is larger than a block", async () => {
    const [rows, columns] = [3000, 4099]; // more than 2^23 elements
    const from = new Float32Array(rows * columns).fill(1);
    const base = await stored([{ name: "w", shape: [rows, columns], type: "BF16", from }]);
    const a = Float32Array.from({ length: columns }, (_, i) => i % 8);
    const b = Float32Array.from({ length: rows }, (_, i) => i % 4);
    const adapter = await stored(
      [
        { name: "a", shape: [1, columns], type: "F32", from: a },
        { name: "b", shape: [rows, 1], type: "F32", from: b },
      ],
      "adapter.safetensors",
    );
    await addon().writeSafetensors(out, [
      { name: "w", from: base, add: { from: adapter, a: "a", b: "b", scale: 2 } },
    ]);
    const values = await (await open(out)).readFloat32("w");
    const wrong = values.findIndex(
      (value, i) => value !== 1 + 2 * b[Math.floor(i / columns)]! * a[i % columns]!,
    );
    expect(wrong).to.equal(-1);
  });

  it("writes over the file it copies from; the open one keeps its content", async () => {
    const from = await stored([matrix("w", [[1, 2]])]);
    await addon().writeSafetensors(from.path, [{ name: "x", from, tensor: "w" }]);
    expect([...(await from.readFloat32("w"))]).to.deep.equal([1, 2]);
    expect((await open(from.path)).tensors.map(({ name }) => name)).to.deep.equal(["x"]);
  });

  it("a file disposed of after the call is still copied", async () => {
    const from = await addon().openSafetensors((await stored([matrix("w", [[1, 2]])])).path);
    const written = addon().writeSafetensors(out, [{ name: "w", from }]);
    from.dispose();
    await written;
    expect([...(await (await open(out)).readFloat32("w"))]).to.deep.equal(fp32(1, 2));
  });

  it("wrong arguments are refused at the call, and nothing is written", async () => {
    const base = await stored([matrix("w", [[1, 2]]), matrix("a", [[1, 2]]), matrix("b", [[3]])]);
    const ids = await stored([matrix("w", [[1, 2]], "F16")], "half.safetensors");
    const write = (change: object) => () =>
      addon().writeSafetensors(out, [{ name: "w", from: base, ...change }]);
    const add = { from: base, a: "a", b: "b", scale: 1 };
    refused(write({ tensor: "none" }), "CHECKPOINT_MISMATCH", '"none"', base.path);
    refused(write({ name: 5 }), "INVALID_ARGUMENT", "tensors[0].name is 5");
    refused(write({ add: { ...add, a: "none" } }), "CHECKPOINT_MISMATCH", '"none"');
    refused(write({ add: { ...add, from: {} } }), "INVALID_ARGUMENT", "tensors[0].add.from is an object");
    refused(write({ add: { ...add, scale: NaN } }), "INVALID_ARGUMENT", "tensors[0].add.scale is NaN");
    refused(write({ add: { ...add, a: "b" } }), "INVALID_ARGUMENT", '"b" times "b"', 'shape of tensor "w"');
    refused(write({ add: { ...add, b: "a" } }), "INVALID_ARGUMENT", '"a" times "a"');
    refused(write({ from: {} }), "INVALID_ARGUMENT", "tensors[0]");
    ids.dispose();
    refused(write({ from: ids }), "DISPOSED", "tensors[0].from");
    await rejected(
      addon().writeSafetensors(out, [
        { name: "w", from: base },
        { name: "w", from: base },
      ]),
      "INVALID_ARGUMENT",
      "given twice",
    );
    expect(readdirSync(folder)).to.have.members(["in.safetensors", "half.safetensors"]);
  });

  it("a product is added to floating types only", async () => {
    const path = join(folder, "int.safetensors");
    const header = Buffer.from(JSON.stringify({ w: { dtype: "I8", shape: [1, 1], data_offsets: [0, 1] } }));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    writeFileSync(path, Buffer.concat([length, header, Buffer.from([1])]));
    const from = await open(path);
    const adapter = await stored([matrix("a", [[1]]), matrix("b", [[1]])]);
    const add = { from: adapter, a: "a", b: "b", scale: 1 };
    refused(
      () => addon().writeSafetensors(out, [{ name: "w", from, add }]),
      "INVALID_ARGUMENT",
      '"w" has type I8',
    );
  });
});
