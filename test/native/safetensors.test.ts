/** Files through the addon; what a malformed one can look like is tested in C++ beside the parser. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { TensorToWrite } from "../../lib/native/contract.js";
import { addon, fp32, read, refused, rejected, vector } from "./addon.js";

describe("safetensors", () => {
  let folder: string, path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rkif-safetensors-"));
    path = join(folder, "a.safetensors");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const write = (tensors: TensorToWrite[], metadata?: Record<string, string>) =>
    addon().writeSafetensors(path, tensors, metadata);
  const tensor = (values: number[], type: TensorToWrite["type"] = "F32"): TensorToWrite => ({
    name: "a",
    shape: [values.length],
    type,
    from: Float32Array.from(values),
  });

  it("writes what any reader of the format reads", async () => {
    await write([{ name: "a", shape: [1, 2], type: "F32", from: vector([1, -2]) }], { format: "pt" });
    const bytes = readFileSync(path);
    const length = Number(bytes.readBigUInt64LE(0));
    expect(JSON.parse(bytes.toString("utf8", 8, 8 + length))).to.deep.equal({
      __metadata__: { format: "pt" },
      a: { dtype: "F32", shape: [1, 2], data_offsets: [0, 8] },
    });
    expect([bytes.readFloatLE(8 + length), bytes.readFloatLE(12 + length)]).to.deep.equal([1, -2]);
    expect(bytes.length).to.equal(16 + length);
  });

  it("reads back names, shapes, types, metadata and values", async () => {
    const metadata = { format: "pt", note: 'with "quotes", \\ and 漢字' };
    const values = fp32(0.1, -2, 3e38, -0, NaN, Infinity);
    await write(
      [
        { name: "b", shape: [2, 3], type: "F32", from: Float32Array.from(values) },
        { name: "scalar", shape: [], type: "F32", from: Float32Array.of(7) },
        { name: "none", shape: [0, 4], type: "F32", from: new Float32Array(0) },
      ],
      metadata,
    );
    const file = await addon().openSafetensors(path);
    expect(file.path).to.equal(path);
    expect(file.metadata).to.deep.equal(metadata);
    const listed = [...file.tensors].sort((x, y) => (x.name < y.name ? -1 : 1));
    expect(listed).to.deep.equal([
      { name: "b", type: "F32", shape: [2, 3], byteLength: 24 },
      { name: "none", type: "F32", shape: [0, 4], byteLength: 0 },
      { name: "scalar", type: "F32", shape: [], byteLength: 4 },
    ]);
    expect(Array.from(await file.readFloat32("b"))).to.deep.equal(values);
    expect(Array.from(await file.readFloat32("scalar"))).to.deep.equal([7]);
    expect(Array.from(await file.readFloat32("none"))).to.deep.equal([]);
    const bytes = await file.readBytes("b");
    expect(Array.from(new Float32Array(bytes.buffer, 0, 6))).to.deep.equal(values);
    file.dispose();
  });

  it("rounds to nearest even for F16 and BF16", async () => {
    // Halfway cases: 1 + 2^-11 and 1 + 3 * 2^-11 in half precision, 1 + 2^-8 and 1 + 3 * 2^-8 in bfloat16.
    await write([tensor([1 + 2 ** -11, 1 + 3 * 2 ** -11, 65520, 2 ** -25, 3 * 2 ** -25], "F16")]);
    let file = await addon().openSafetensors(path);
    expect(file.tensors[0]!.byteLength).to.equal(10);
    expect(Array.from(await file.readFloat32("a"))).to.deep.equal([1, 1 + 2 ** -9, Infinity, 0, 2 ** -23]);
    file.dispose();
    await write([tensor([1 + 2 ** -8, 1 + 3 * 2 ** -8, -3.39e38, 3.4e38, NaN], "BF16")]);
    file = await addon().openSafetensors(path);
    expect(Array.from(await file.readFloat32("a"))).to.deep.equal([
      1,
      1 + 2 ** -6,
      -(2 ** 127) * 1.9921875,
      Infinity,
      NaN,
    ]);
    const bytes = await file.readBytes("a");
    expect(Array.from(bytes.subarray(0, 4))).to.deep.equal([0x80, 0x3f, 0x82, 0x3f]);
    file.dispose();
  });

  it("writes slices of vectors as they are when the work is reached, and arrays as they are at the call", async () => {
    const v = vector([0, 1, 2, 3]);
    const array = Float32Array.of(5, 6, 7);
    v.scale(2);
    const written = write([
      { name: "slice", shape: [2], type: "F32", from: v, offset: 1 },
      { name: "array", shape: [2], type: "F32", from: array, offset: 1 },
    ]);
    v.fill(9);
    array.fill(9);
    await written;
    const file = await addon().openSafetensors(path);
    expect(Array.from(await file.readFloat32("slice"))).to.deep.equal([2, 4]);
    expect(Array.from(await file.readFloat32("array"))).to.deep.equal([6, 7]);
    file.dispose();
  });

  it("readInto converts into a part of a vector", async () => {
    await write([tensor([1.5, 2.5], "F16")]);
    const file = await addon().openSafetensors(path);
    const v = vector([0, 0, 0, 0]);
    file.readInto("a", v, 2);
    file.dispose(); // the work already enqueued still has the file
    expect(await read(v)).to.deep.equal([0, 0, 1.5, 2.5]);
  });

  it("a write over an open file leaves its reader the old content, and no other file behind", async () => {
    await write([tensor([1, 2])]);
    const old = await addon().openSafetensors(path);
    await write([tensor([3])]);
    expect(Array.from(await old.readFloat32("a"))).to.deep.equal([1, 2]);
    const renewed = await addon().openSafetensors(path);
    expect(Array.from(await renewed.readFloat32("a"))).to.deep.equal([3]);
    expect(readdirSync(folder)).to.deep.equal(["a.safetensors"]);
    old.dispose();
    renewed.dispose();
  });

  it("a write that cannot be is an error, and an existing file stays", async () => {
    await write([tensor([1, 2])]);
    const before = readFileSync(path);
    await rejected(write([tensor([1]), tensor([2])]), "INVALID_ARGUMENT", path, '"a"');
    const nowhere = join(folder, "no", "folder.safetensors");
    await rejected(addon().writeSafetensors(nowhere, [tensor([1])]), "NATIVE", nowhere);
    expect(readFileSync(path)).to.deep.equal(before);
    expect(readdirSync(folder)).to.deep.equal(["a.safetensors"]);
  });

  it("files that are missing, cut short or no safetensors are refused by name", async () => {
    await rejected(addon().openSafetensors(join(folder, "none")), "CHECKPOINT_INVALID", join(folder, "none"));
    await write([tensor([1, 2])]);
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.subarray(0, -1));
    await rejected(addon().openSafetensors(path), "CHECKPOINT_INVALID", path);
    writeFileSync(path, "not a safetensors file at all");
    await rejected(addon().openSafetensors(path), "CHECKPOINT_INVALID", path);
    writeFileSync(path, "");
    await rejected(addon().openSafetensors(path), "CHECKPOINT_INVALID", path);
    await rejected(addon().openSafetensors(folder), "CHECKPOINT_INVALID", folder);
  });

  it("wrong arguments are refused at the call", async () => {
    await write([tensor([1, 2])]);
    const file = await addon().openSafetensors(path);
    refused(() => file.readFloat32("b"), "CHECKPOINT_MISMATCH", '"b"', path);
    refused(() => file.readBytes("b"), "CHECKPOINT_MISMATCH", '"b"');
    refused(() => file.readInto("b", vector([1]), 0), "CHECKPOINT_MISMATCH", '"b"');
    refused(() => file.readFloat32(5 as never), "INVALID_ARGUMENT", "readFloat32: name is 5");
    refused(() => file.readInto("a", vector([1]), 0), "INVALID_ARGUMENT", "2 elements", "vector of 1");
    refused(() => file.readInto("a", vector([1, 2]), 1), "INVALID_ARGUMENT", "offset 1");
    refused(() => file.readInto("a", vector([1, 2]), -1), "INVALID_ARGUMENT", "readInto: offset is -1");
    refused(() => file.readInto("a", {} as never, 0), "INVALID_ARGUMENT", "readInto: vector is an object");
    file.dispose();
    file.dispose();
    expect(file.disposed).to.equal(true);
    refused(() => file.tensors, "DISPOSED", "this SafetensorsFile");
    refused(() => file.readBytes("a"), "DISPOSED");

    const attempt = (change: object) => () => write([{ ...tensor([1, 2]), ...change }]);
    refused(attempt({ name: 1 }), "INVALID_ARGUMENT", "tensors[0].name is 1");
    refused(attempt({ type: "F64" }), "INVALID_ARGUMENT", 'tensors[0].type is the string "F64"');
    refused(attempt({ shape: [3] }), "INVALID_ARGUMENT", "tensors[0]", "needs 3 values", "has 2");
    refused(attempt({ shape: [-1] }), "INVALID_ARGUMENT", "tensors[0].shape[0] is -1");
    refused(attempt({ shape: 2 }), "INVALID_ARGUMENT", "tensors[0].shape is 2");
    refused(attempt({ offset: 1 }), "INVALID_ARGUMENT", "needs 2 values from 1");
    refused(attempt({ from: [1, 2] }), "INVALID_ARGUMENT", "tensors[0].from is an array");
    refused(attempt({ from: new Float64Array(2) }), "INVALID_ARGUMENT", "tensors[0].from is another typed");
    // 2^64 and 2^63 elements: a count in 64 bits would be 0, or negative.
    for (const shape of [
      [2 ** 32, 2 ** 32],
      [2 ** 32, 2 ** 31],
    ])
      refused(attempt({ shape }), "INVALID_ARGUMENT", "tensors[0]", "values from 0, its source has 2");
    refused(attempt({ shape: [0], offset: 3 }), "INVALID_ARGUMENT", "needs 0 values from 3");
    refused(() => write({} as never), "INVALID_ARGUMENT", "tensors is an object, expected an array");
    refused(() => write([], { a: 1 } as never), "INVALID_ARGUMENT", "metadata.a is 1");
  });
});
