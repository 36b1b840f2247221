/** The parity tests' own parts, on values written here: the tests' tests. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { labelTokens, packedBatch, paddedLogits } from "./batches.js";
import { addressJson, compare, Expected, type Values } from "./expected.js";
import { fixtureRoots } from "./fixtures.js";
import { readSafetensors, type Tensor } from "./safetensors.js";
import { absolute, count, EQUAL, GIVEN, mask, relative, type Rule, type Tolerance } from "./tolerances.js";

/** One float32 tensor "x" of the given values, as bytes of a file; written by hand from the format's description. */
function safetensorsBytes(values: number[]): Buffer {
  const header = Buffer.from(
    JSON.stringify({
      __metadata__: { format: "pt" },
      x: { dtype: "F32", shape: [values.length], data_offsets: [0, 4 * values.length] },
    }),
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.from(Float32Array.from(values).buffer)]);
}

describe("fixtures: expected values and tolerances", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rkif-expected-"));
    writeFileSync(join(folder, "e.safetensors"), safetensorsBytes([0.5, -2, 1]));
    writeFileSync(join(folder, "e.json"), JSON.stringify({ ids: [[1, 2], [3]], name: "n", missing: null }));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const read = (): Expected => Expected.read({ root: folder, name: "e", files: ["e.safetensors", "e.json"] });
  const rules: Rule[] = [
    { at: /#x$/, tolerance: relative(0.01) },
    { at: /#ids/, tolerance: EQUAL },
    { at: /#missing/, tolerance: EQUAL },
    { at: /#name/, tolerance: GIVEN },
  ];
  const right = (): Values =>
    addressJson("e.json", { ids: [[1, 2], [3]], missing: null }).set("e.safetensors#x", [0.5, -2, 1]);

  it("reads tensors whatever the header's length is", () => {
    assert.deepEqual(
      [...(readSafetensors(join(folder, "e.safetensors")).get("x")?.values ?? [])],
      [0.5, -2, 1],
    );
  });

  it("passes equal values, and a difference of the tolerance times the largest value", () => {
    assert.deepEqual(compare(rules, right(), read()), []);
    assert.deepEqual(compare(rules, right().set("e.safetensors#x", [0.5199, -2, 1]), read()), []);
  });

  it("reports a difference beyond the tolerance with its place", () => {
    const [line, ...rest] = compare(rules, right().set("e.safetensors#x", [0.5, -2, 1.03]), read());
    assert.match(line ?? "", /^e\.safetensors#x\[2\]: 1\.03, expected 1 /);
    assert.isEmpty(rest);
  });

  it("reports values that are missing, too many, of another length, NaN, or null on one side", () => {
    const cases: [Values, string][] = [
      [
        new Map([...right()].filter(([address]) => address !== "e.safetensors#x")),
        "e.safetensors#x: not computed",
      ],
      [right().set("e.json#ids/2", [4]), "e.json#ids/2: computed, but not expected"],
      [right().set("e.json#ids/0", [1]), "e.json#ids/0: 1 values, expected 2"],
      [right().set("e.safetensors#x", [NaN, -2, 1]), "e.safetensors#x[0]"],
      [right().set("e.json#missing", [0]), "e.json#missing[0]"],
    ];
    for (const [actual, message] of cases) {
      const mismatches = compare(rules, actual, read());
      assert.lengthOf(mismatches, 1);
      assert.isTrue(mismatches[0]?.startsWith(message), mismatches[0]);
    }
  });

  it("moves every kind of value beyond its own tolerance", () => {
    const values: [Tolerance, (number | string | boolean | null)[]][] = [
      [relative(1e-5), [0, 0, 0]],
      [relative(1e-5), [1e-40, 2e-41]],
      [relative(1e-5), [NaN, 1, Infinity]],
      [absolute(1e-6), [3]],
      [EQUAL, []],
      [EQUAL, [7, "word", true, null]],
      [mask(), [0, 1, 1]],
      [mask({ allowed: 2 }), new Array<number>(40).fill(1)],
      [count(() => 3), [10]],
    ];
    const expected = read();
    for (const [tolerance, wanted] of values) {
      assert.isNull(tolerance.worst(wanted, wanted, expected, ""), tolerance.name);
      for (let index = 0; index < wanted.length; index++) {
        const moved = tolerance.moved(wanted, index, expected, "");
        assert.isNotNull(tolerance.worst(wanted, moved, expected, ""), `${tolerance.name} at ${index}`);
      }
    }
    assert.lengthOf(EQUAL.moved([], 0, expected, ""), 1);
  });

  it("leaves elements near their threshold to rounding, and only those", () => {
    const near = mask({ free: () => (index) => index === 1 });
    assert.isNull(near.worst([0, 0, 1], [0, 1, 1], read(), ""));
    assert.deepEqual(near.moved([0, 1, 1], 1, read(), ""), [0, 1, 0]);
  });
});

describe("fixtures: padded and packed batches", () => {
  const tensor = (shape: number[], values: number[]): Tensor => ({
    shape,
    values: Float64Array.from(values),
  });
  const mask = [1, 1, 1, 1, 0, 0];
  // Row 1 has one token, whose label nothing predicts.
  const given = new Map([
    ["input_ids", tensor([2, 3], [5, 6, 7, 8, 0, 0])],
    ["attention_mask", tensor([2, 3], mask)],
    ["labels", tensor([2, 3], [-100, 6, 7, 8, -100, -100])],
    ["left_attention_mask", tensor([2, 3], [1, 1, 1, 0, 0, 1])],
  ]);

  it("packs a decoder's tokens with their labels, and counts the labels that are predicted", () => {
    const batch = packedBatch(given, "decoder");
    assert.deepEqual([...batch.inputIds], [5, 6, 7, 8]);
    assert.deepEqual([...batch.labels], [-100, 6, 7, 8]);
    assert.deepEqual([...batch.labelLengths], [3, 1]);
    assert.strictEqual(labelTokens(batch, "decoder"), 2);
    assert.strictEqual(labelTokens(batch, "t5"), 3);
  });

  it("keeps T5's label rows at their full length", () => {
    const batch = packedBatch(given, "t5");
    assert.deepEqual([...batch.inputLengths], [3, 1]);
    assert.deepEqual([...batch.labels], [-100, 6, 7, 8, -100, -100]);
  });

  it("puts logits of real tokens in their places, zeros at padding", () => {
    const logits = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    assert.deepEqual([...paddedLogits(logits, given)], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0]);
    assert.deepEqual([...paddedLogits(logits, given, "left_")], [1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 7, 8]);
  });
});

describe("fixtures: where they are looked for", () => {
  it("names the committed fixtures first, then those of RKIF_FIXTURES, each once", () => {
    const [committed] = fixtureRoots({ RKIF_FIXTURES: "" });
    assert.isTrue(committed?.path.endsWith(join("test", "fixtures", "data")));
    const both = fixtureRoots({ RKIF_FIXTURES: `${tmpdir()}:${committed?.path}:${tmpdir()}` });
    assert.deepEqual(
      both.map(({ path }) => path),
      [committed?.path, tmpdir()],
    );
  });

  it("refuses a named folder that does not exist", () => {
    assert.throws(
      () => fixtureRoots({ RKIF_FIXTURES: "/nowhere/fixtures" }),
      /\/nowhere\/fixtures, which does not exist/,
    );
  });
});
