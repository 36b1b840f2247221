/** lib/native/contract.ts is all that TypeScript knows of the addon; here it is held against the live objects. */
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import ts from "typescript";
import { addon, batch, loadSmallModel, members, vector } from "./addon.js";

const source = ts.createSourceFile(
  "contract.ts",
  readFileSync(new URL("../../lib/native/contract.ts", import.meta.url), "utf8"),
  ts.ScriptTarget.Latest,
);

const interfaces = new Map(
  source.statements.filter(ts.isInterfaceDeclaration).map((node) => [node.name.text, node]),
);

/** "method" or "property" by member name, inherited members included. */
function declared(name: string): Record<string, string> {
  const node = interfaces.get(name);
  if (node === undefined) throw new Error(`contract.ts has no interface ${name}`);
  const names: Record<string, string> = {};
  for (const { types } of node.heritageClauses ?? [])
    for (const type of types) Object.assign(names, declared(type.expression.getText(source)));
  for (const member of node.members)
    names[member.name!.getText(source)] = ts.isMethodSignature(member) ? "method" : "property";
  return names;
}

/** The same of an instance of one of the addon's classes. */
function found(handle: object): Record<string, string> {
  expect(Reflect.ownKeys(handle), "members beside the class's").to.deep.equal([]);
  return Object.fromEntries(
    Object.entries(members(handle)).map(([name, { value, get, set }]) => {
      expect(set, `${name} can be assigned`).to.equal(undefined);
      return [name, typeof value === "function" ? "method" : get ? "property" : "neither"];
    }),
  );
}

/** Names in an object that an interface describes. */
function names(name: string): string[] {
  return Object.keys(declared(name)).sort();
}

describe("contract", () => {
  it("Addon", () => {
    const live = Object.fromEntries(
      Object.entries(addon()).map(([key, value]) => [
        key,
        typeof value === "function" ? "method" : "property",
      ]),
    );
    expect(live).to.deep.equal(declared("Addon"));
    expect(Object.keys(addon().build).sort()).to.deep.equal(names("BuildInfo"));
  });

  it("AbortFlag, Vector, Mask and StepReports", async () => {
    expect(found(addon().createAbortFlag())).to.deep.equal(declared("AbortFlag"));
    expect(found(addon().createVector(1))).to.deep.equal(declared("Vector"));
    expect(found(addon().createMask(Uint8Array.of(1)))).to.deep.equal(declared("Mask"));
    const reports = addon().createStepReports(1);
    expect(found(reports)).to.deep.equal(declared("StepReports"));
    expect(Object.keys((await reports.take(1))[0]!).sort()).to.deep.equal(names("TakenStep"));
  });

  it("Model, its layout and its loss report", async () => {
    const model = await loadSmallModel();
    expect(found(model)).to.deep.equal(declared("Model"));
    expect(Object.keys(model.layout[0]!).sort()).to.deep.equal(names("TensorLayout"));
    const report = await model.accumulate(batch, { divisor: 1, lossScale: 1, dropout: null });
    expect(Object.keys(report).sort()).to.deep.equal(names("LossReport"));
    model.dispose();
  });

  it("SafetensorsFile and its tensors", async () => {
    const path = join(tmpdir(), `rkif-contract-${process.pid}.safetensors`);
    await addon().writeSafetensors(path, [{ name: "a", shape: [1], type: "F32", from: Float32Array.of(1) }]);
    const file = await addon().openSafetensors(path);
    expect(found(file)).to.deep.equal(declared("SafetensorsFile"));
    expect(Object.keys(file.tensors[0]!).sort()).to.deep.equal(names("StoredTensor"));
    file.dispose();
  });

  it("reports of fusion and of an optimizer step", async () => {
    const [parameters, start, tauIn, tauOut] = [vector([0]), vector([0]), vector([1]), vector([1])];
    const mask = addon().createMask(Uint8Array.of(1));
    const table = { onlyIn: [1, 0], onlyOut: [0, 1], both: [0.5, 0.5], neither: [0, 0] } as const;
    const fusion = await addon().fuse({ parameters, start, tauIn, tauOut }, { in: mask, out: mask }, table);
    expect(Object.keys(fusion).sort()).to.deep.equal(names("FusionReport"));
    const step = await addon().adamwStep(
      { parameters, gradients: start, m: tauIn, v: tauOut },
      {
        learningRate: 1,
        update: 1,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weightDecay: 0,
        maxGradNorm: null,
      },
    );
    expect(Object.keys(step).sort()).to.deep.equal(names("StepReport"));
  });
});
