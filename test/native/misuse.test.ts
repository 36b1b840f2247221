/** Every wrong use of the addon is an error that names what is wrong; none may crash the process. */
import { expect } from "chai";
import type {
  AdamWOptions,
  FusionTable,
  Mask,
  Model,
  SelectOptions,
  Vector,
} from "../../lib/native/contract.js";
import { adamwOptions, addon, loadSmallModel, members, read, refused, vector } from "./addon.js";

/** A call with arguments that TypeScript would refuse. */
type Anything = (...args: unknown[]) => unknown;
const call = (target: object, name: string, ...args: unknown[]): unknown =>
  ((target as Record<string, unknown>)[name] as Anything).apply(target, args);

const notVectors: [string, unknown][] = [
  ["undefined", undefined],
  ["null", null],
  ["an object", { length: 3, read: () => [] }],
  ["another typed array", new Float32Array(3)],
  ["5", 5],
];
const notNumbers: [string, unknown][] = [
  ["undefined", undefined],
  ["null", null],
  ['the string "1"', "1"],
  ["NaN", NaN],
  ["Infinity", Infinity],
  ["an object", {}],
];
const notIndices: [string, unknown][] = [
  ["-1", -1],
  ["1.5", 1.5],
  ["NaN", NaN],
  ["null", null],
  ["Infinity", Infinity],
  ["the string", "0"],
];

function refusedEach(
  wrong: readonly [string, unknown][],
  argument: string,
  attempt: (value: unknown) => unknown,
): void {
  for (const [found, value] of wrong)
    refused(() => attempt(value), "INVALID_ARGUMENT", `${argument} is`, found, "expected");
}

describe("misuse", () => {
  let v: Vector, other: Vector, short: Vector, mask: Mask;
  beforeEach(() => {
    [v, other, short] = [vector([1, 2, 3]), vector([4, 5, 6]), vector([1])];
    mask = addon().createMask(Uint8Array.of(1, 0, 1));
  });

  it("addon functions check their arguments", () => {
    refusedEach([...notIndices, ["undefined", undefined]], "createVector: length", (x) =>
      call(addon(), "createVector", x),
    );
    refusedEach([...notIndices, ["0", 0], ["1000000", 1e6]], "setThreads: threads", (x) =>
      call(addon(), "setThreads", x),
    );
    const notBits: [string, unknown][] = [
      ["undefined", undefined],
      ["an array", [1, 0]],
      ["another typed array", new Int8Array(2)],
    ];
    refusedEach(notBits, "createMask: bits", (x) => call(addon(), "createMask", x));
    refused(() => addon().createMask(Uint8Array.of(0, 2)), "INVALID_ARGUMENT", "createMask: bits[1] is 2");
    const notText: [string, unknown][] = [
      ["undefined", undefined],
      ["5", 5],
    ];
    refusedEach(notText, "openSafetensors: path", (x) => call(addon(), "openSafetensors", x));
    refused(() => call(addon(), "loadModel"), "INVALID_ARGUMENT", "loadModel: options is undefined");
  });

  it("vector methods check their arguments", () => {
    for (const [name, argument] of [
      ["copyFrom", "copyFrom: other"],
      ["minus", "minus: other"],
      ["addScaled", "addScaled: other"],
    ] as const) {
      refusedEach([...notVectors, ["an object", mask]], argument, (x) => call(v, name, x, 1));
      refused(() => call(v, name, short, 1), "INVALID_ARGUMENT", `${argument} has 1 elements, expected 3`);
    }
    refusedEach(notVectors, "setDifference: a", (x) => call(v, "setDifference", x, other));
    refusedEach(notVectors, "setDifference: b", (x) => call(v, "setDifference", other, x));
    refusedEach(notNumbers, "addScaled: scale", (x) => call(v, "addScaled", other, x));
    refusedEach(notVectors, "addProduct: a", (x) => call(v, "addProduct", x, other, 1));
    refusedEach(notVectors, "addProduct: b", (x) => call(v, "addProduct", other, x, 1));
    refusedEach(notNumbers, "addProduct: scale", (x) => call(v, "addProduct", other, other, x));
    refused(
      () => v.addProduct(other, short, 1),
      "INVALID_ARGUMENT",
      "addProduct: b has 1 elements, expected 3",
    );
    refusedEach(notNumbers, "scale: factor", (x) => call(v, "scale", x));
    refusedEach(notNumbers, "fill: value", (x) => call(v, "fill", x));
    const notValues: [string, unknown][] = [
      ["undefined", undefined],
      ["an array", [1]],
      ["another typed array", new Float64Array(1)],
      ["an object", other],
    ];
    refusedEach(notValues, "set: values", (x) => call(v, "set", x));
    refusedEach(notIndices, "set: offset", (x) => call(v, "set", new Float32Array(1), x));
    refusedEach(notIndices, "read: offset", (x) => call(v, "read", x));
    refusedEach(notIndices, "read: count", (x) => call(v, "read", 0, x));
    refused(() => v.set(new Float32Array(2), 2), "INVALID_ARGUMENT", "[2, 4)", "vector of 3");
    refused(() => v.set(new Float32Array(1), Number.MAX_SAFE_INTEGER), "INVALID_ARGUMENT", "vector of 3");
    refused(() => v.read(4), "INVALID_ARGUMENT", "vector of 3");
    refused(() => v.read(1, 3), "INVALID_ARGUMENT", "[1, 4)", "vector of 3");
  });

  it("select and quantiles check their options", () => {
    const good: SelectOptions = { keepFraction: 0.5, by: "quantile", compare: ">" };
    const attempt = (options: object) => () => call(addon(), "select", v, { ...good, ...options });
    refusedEach(notVectors, "select: scores", (x) => call(addon(), "select", x, good));
    refused(() => call(addon(), "select", v), "INVALID_ARGUMENT", "select: options is undefined");
    refusedEach(
      [...notNumbers, ["-0.1", -0.1], ["1.1", 1.1]],
      "select: options.keepFraction",
      (keepFraction) => attempt({ keepFraction })(),
    );
    refused(attempt({ by: "median" }), "INVALID_ARGUMENT", "options.by", "median", "quantile");
    refused(attempt({ compare: "<" }), "INVALID_ARGUMENT", "options.compare", '"<"');
    refused(attempt({ segments: [1, 1] }), "INVALID_ARGUMENT", "options.segments add up to 2", "3");
    refused(attempt({ segments: [0, 3] }), "INVALID_ARGUMENT", "options.segments[0] is 0");
    refused(attempt({ segments: 3 }), "INVALID_ARGUMENT", "options.segments is 3");
    // 2048 times 2^53 - 1 and 2051 make 2^64 + 3: a sum in 64 bits would be 3.
    const wrapping = [...new Array<number>(2048).fill(Number.MAX_SAFE_INTEGER), 2051];
    refused(attempt({ segments: wrapping }), "INVALID_ARGUMENT", "options.segments add up to");
    refused(() => addon().select(addon().createVector(0), good), "INVALID_ARGUMENT", "scores is empty");
    refusedEach(notVectors, "quantiles: values", (x) => call(addon(), "quantiles", x, [0.5]));
    refused(() => addon().quantiles(v, [0.5, 1.5]), "INVALID_ARGUMENT", "quantiles: at");
    refused(() => addon().quantiles(v, [NaN]), "INVALID_ARGUMENT", "quantiles: at[0] is NaN");
    refused(() => addon().quantiles(addon().createVector(0), [0.5]), "INVALID_ARGUMENT", "values is empty");
  });

  it("importance checks its vectors and decays", () => {
    const into = { importance: vector([0, 0, 0]), uncertainty: vector([0, 0, 0]) };
    const decay = { importanceDecay: 0.5, uncertaintyDecay: 0.5 };
    const attempt = (a: object, b: object, options: object = {}) =>
      addon().updateImportance({ ...into, ...a }, v, other, { ...decay, ...b, ...options });
    refusedEach(notVectors, "updateImportance: into.importance", (x) => attempt({ importance: x }, {}));
    refusedEach(notVectors, "updateImportance: weights", (x) =>
      call(addon(), "updateImportance", into, x, other, decay),
    );
    refusedEach(
      [...notNumbers, ["2", 2], ["-1", -1]],
      "updateImportance: options.importanceDecay",
      (importanceDecay) => attempt({}, { importanceDecay }),
    );
    refused(() => attempt({}, { mask: v }), "INVALID_ARGUMENT", "options.mask is an object, expected a Mask");
    refused(
      () => attempt({}, { mask: addon().createMask(Uint8Array.of(1)) }),
      "INVALID_ARGUMENT",
      "options.mask has 1 elements, expected 3",
    );
    refused(() => attempt({ uncertainty: short }, {}), "INVALID_ARGUMENT", "into.uncertainty has 1");
    refused(() => attempt({ uncertainty: into.importance }, {}), "INVALID_ARGUMENT", "is the same vector");
    refused(() => attempt({ importance: v }, {}), "INVALID_ARGUMENT", "is the same vector", "weights");
    refusedEach(notVectors, "score: of.importance", (x) => call(addon(), "score", { importance: x }));
  });

  it("fusion checks its vectors, masks and weights", () => {
    const vectors = { parameters: vector([0, 0, 0]), start: v, tauIn: other, tauOut: other };
    const masks = { in: mask, out: mask };
    const table: FusionTable = { onlyIn: [1, 0], onlyOut: [0, 1], both: [1, 1], neither: [0, 0] };
    const fuse = (a: object, b: object = {}, c: object = {}) =>
      call(addon(), "fuse", { ...vectors, ...a }, { ...masks, ...b }, { ...table, ...c });
    for (const key of ["parameters", "start", "tauIn", "tauOut"])
      refusedEach(notVectors, `fuse: vectors.${key}`, (x) => fuse({ [key]: x }));
    refused(() => fuse({ tauIn: short }), "INVALID_ARGUMENT", "vectors.tauIn has 1 elements, expected 3");
    refused(() => fuse({ tauOut: vectors.parameters }), "INVALID_ARGUMENT", "vectors.tauOut", "same vector");
    refused(() => fuse({}, { out: v }), "INVALID_ARGUMENT", "masks.out is an object, expected a Mask");
    refused(() => fuse({}, {}, { both: [1] }), "INVALID_ARGUMENT", "table.both", "a pair");
    refused(() => fuse({}, {}, { both: [1, NaN] }), "INVALID_ARGUMENT", "table.both[1] is NaN");
    refused(() => fuse({}, {}, { neither: undefined }), "INVALID_ARGUMENT", "table.neither is undefined");

    const scores = { in: v, out: other };
    const adaptive = (temperature: unknown, weights?: object) =>
      call(addon(), "fuseAdaptive", vectors, scores, temperature, weights);
    refusedEach([...notNumbers, ["0", 0], ["-1", -1]], "fuseAdaptive: temperature", (x) => adaptive(x));
    refused(() => adaptive(1, { in: short, out: short }), "INVALID_ARGUMENT", "weights.in has 1 elements");
    const one = vector([0, 0, 0]);
    refused(() => adaptive(1, { in: one, out: one }), "INVALID_ARGUMENT", "weights.in is the same vector");
    refused(() => adaptive(1, { in: one, out: other }), "INVALID_ARGUMENT", "weights.out", "vectors.tauIn");
  });

  it("adamwStep checks its vectors and options", () => {
    const vectors = { parameters: v, gradients: other, m: vector([0, 0, 0]), v: vector([0, 0, 0]) };
    const good: AdamWOptions = { ...adamwOptions, learningRate: 0.1 };
    const attempt = (a: object, b: object = {}) =>
      call(addon(), "adamwStep", { ...vectors, ...a }, { ...good, ...b });
    for (const key of ["parameters", "gradients", "m", "v"])
      refusedEach(notVectors, `adamwStep: vectors.${key}`, (x) => attempt({ [key]: x }));
    refused(() => attempt({ m: short }), "INVALID_ARGUMENT", "vectors.m has 1 elements, expected 3");
    refused(() => attempt({ v: vectors.m }), "INVALID_ARGUMENT", "vectors.m is the same vector as", ".v");
    refused(() => attempt({ gradients: v }), "INVALID_ARGUMENT", "is the same vector");
    for (const key of ["learningRate", "epsilon", "weightDecay", "beta1", "beta2"])
      refusedEach([...notNumbers, ["-1", -1]], `adamwStep: options.${key}`, (x) => attempt({}, { [key]: x }));
    for (const key of ["beta1", "beta2"])
      refused(() => attempt({}, { [key]: 1 }), "INVALID_ARGUMENT", `options.${key} is 1`);
    refusedEach([...notIndices, ["0", 0]], "adamwStep: options.update", (x) => attempt({}, { update: x }));
    for (const maxGradNorm of [undefined, 0, -1, NaN])
      refused(() => attempt({}, { maxGradNorm }), "INVALID_ARGUMENT", "options.maxGradNorm is");
    const importance = {
      importance: vector([0, 0, 0]),
      uncertainty: vector([0, 0, 0]),
      importanceDecay: 0.5,
      uncertaintyDecay: 0.5,
    };
    refused(
      () => attempt({}, { importance: { ...importance, reads: "during" } }),
      "INVALID_ARGUMENT",
      'options.importance.reads is the string "during"',
    );
    refused(
      () => attempt({}, { importance: { ...importance, importance: vectors.v, reads: "after" } }),
      "INVALID_ARGUMENT",
      "options.importance.importance is the same vector as adamwStep: vectors.v",
    );
  });

  it("members do not work on another object", () => {
    const flag = addon().createAbortFlag();
    const imposters = [mask, flag, {}, Object.create(v) as object, new Proxy(v, {}), undefined, 1];
    for (const [name, { value, get }] of Object.entries(members(v))) {
      // The engine itself refuses to call methods ("Illegal invocation"); accessors are the addon's to guard.
      const member = (value ?? get) as Anything;
      for (const imposter of imposters) expect(() => member.call(imposter, 0), name).to.throw();
    }
    const getter = (of: object, name: string) => members(of)[name]!.get!;
    refused(() => getter(v, "length").call(mask), "INVALID_ARGUMENT", "not a Vector");
    refused(() => getter(flag, "aborted").call(v), "INVALID_ARGUMENT", "not an AbortFlag");
    for (const imposter of [Object.create(v) as Vector, new Proxy(v, {})])
      refused(() => other.copyFrom(imposter), "INVALID_ARGUMENT", "copyFrom: other is an object");
  });

  it("classes cannot be constructed, nor extended", () => {
    for (const handle of [v, mask, addon().createAbortFlag()]) {
      const Class = handle.constructor as new (...args: unknown[]) => object;
      for (const args of [[], [1], [v], [null], [{}, {}]])
        refused(() => new Class(...args), "INVALID_ARGUMENT", "cannot be constructed");
      refused(() => new (class extends Class {})(1), "INVALID_ARGUMENT", "cannot be constructed");
      expect(() => (Class as unknown as Anything)()).to.throw();
    }
  });

  it("a disposed handle is an error everywhere, and may be disposed again", () => {
    const file = addon();
    for (const handle of [v, mask]) {
      expect(handle.disposed).to.equal(false);
      handle.dispose();
      handle.dispose();
      expect(handle.disposed).to.equal(true);
      refused(() => handle.length, "DISPOSED");
      refused(() => handle.read(), "DISPOSED", "was used after dispose()");
    }
    refused(() => v.set(new Float32Array(1)), "DISPOSED", "this Vector");
    refused(() => v.copy(), "DISPOSED");
    refused(() => v.norm(), "DISPOSED");
    refused(() => v.copyFrom(other), "DISPOSED");
    refused(() => other.copyFrom(v), "DISPOSED", "copyFrom: other");
    refused(() => mask.count(), "DISPOSED", "this Mask");
    refused(() => mask.thresholds(), "DISPOSED");
    refused(() => file.quantiles(v, [0.5]), "DISPOSED", "quantiles: values");
    const decay = { importanceDecay: 0.5, uncertaintyDecay: 0.5, mask };
    const into = { importance: vector([0, 0, 0]), uncertainty: vector([0, 0, 0]) };
    refused(() => file.updateImportance(into, other, other, decay), "DISPOSED", "options.mask");
  });

  it("a model's own vectors live and end with it", async () => {
    const model: Model = await loadSmallModel();
    const { parameters, gradients } = model;
    expect(model.parameters).to.equal(parameters);
    expect(model.gradients).to.equal(gradients);
    refused(() => parameters.dispose(), "INVALID_ARGUMENT", "belongs to a model");
    expect(parameters.disposed).to.equal(false);
    const pending = parameters.read(0, 2);
    model.dispose();
    model.dispose();
    expect([model.disposed, parameters.disposed, gradients.disposed]).to.deep.equal([true, true, true]);
    expect((await pending).length).to.equal(2);
    refused(() => model.parameters, "DISPOSED", "this Model");
    refused(() => model.layout, "DISPOSED");
    refused(() => model.mergeAdapter(), "DISPOSED");
    refused(() => parameters.read(), "DISPOSED", "this Vector");
    refused(() => v.copyFrom(gradients), "DISPOSED");
    parameters.dispose();
  });

  it("a getter that disposes what is being checked changes nothing", async () => {
    const into = vector([0, 0, 0]);
    const options = {
      keepFraction: 0.5,
      by: "top-k" as const,
      get compare() {
        v.dispose();
        return ">" as const;
      },
    };
    expect(Array.from(await addon().select(v, options).read())).to.deep.equal([0, 1, 1]);
    const array = Float32Array.of(7, 8, 9);
    into.set(array);
    structuredClone(array.buffer, { transfer: [array.buffer] });
    into.set(array, 3); // detached: no values
    expect(await read(into)).to.deep.equal([7, 8, 9]);
  });
});
