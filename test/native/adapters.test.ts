/** Frozen adapters, penalties and sums of outputs as the addon offers them; what they compute is tested in C++. */
import { expect } from "chai";
import type { Model, OrthogonalityOptions, TensorLayout } from "../../lib/native/contract.js";
import { addon, batch, loadSmallModel, modelOptions, read, refused, vector } from "./addon.js";

const plain = { divisor: 4, lossScale: 1, dropout: null };
const orthogonality: OrthogonalityOptions = { l1: 1, l2: 0, form: "absolute" };

describe("adapters", () => {
  let model: Model;
  beforeEach(async () => {
    model = await loadSmallModel();
  });
  afterEach(() => model.dispose());

  it("frozen ones are counted at the call, come out in order, and go in again", async () => {
    expect(model.frozenAdapters).to.equal(0);
    const first = await read(model.parameters);
    model.freezeAdapter();
    model.parameters.fill(0.02);
    model.freezeAdapter();
    expect(model.frozenAdapters).to.equal(2);
    const second = first.map(() => Math.fround(0.02));
    const frozen = model.copyFrozen();
    expect(frozen.length).to.equal(2 * first.length);
    expect(await read(frozen)).to.deep.equal([...first, ...second]);
    const logits = await model.logits(batch);

    model.setFrozen(null);
    expect([model.frozenAdapters, model.copyFrozen().length]).to.deep.equal([0, 0]);
    expect(await model.logits(batch)).to.not.deep.equal(logits);
    model.setFrozen(frozen);
    frozen.fill(9); // a copy was taken
    expect(model.frozenAdapters).to.equal(2);
    expect(await model.logits(batch)).to.deep.equal(logits);
  });

  it("a frozen adapter goes on computing when the one that trains is cleared", async () => {
    const logits = await model.logits(batch);
    model.freezeAdapter();
    model.parameters.fill(0);
    const found = await model.logits(batch);
    found.forEach((value, i) => expect(value).to.be.closeTo(logits[i]!, 1e-5));
    model.setFrozen(null);
    const without = await model.logits(batch);
    expect(Math.max(...without.map((value, i) => Math.abs(value - logits[i]!)))).to.be.above(1e-2);
  });

  it("penalties tell their value and add to the gradients", async () => {
    model.gradients.fill(0);
    expect(await model.addOrthogonalityGradient(orthogonality)).to.equal(0);
    expect(await model.addOverlapGradient(3)).to.equal(0);
    expect((await model.gradients.norm()).norm).to.equal(0);
    model.freezeAdapter();
    for (const add of [
      (factor: number) => model.addOrthogonalityGradient({ ...orthogonality, l1: factor }),
      (factor: number) => model.addOrthogonalityGradient({ l1: factor, l2: 2 * factor, form: "squared" }),
      (factor: number) => model.addOverlapGradient(factor),
    ]) {
      model.gradients.fill(0);
      const once = await add(1);
      expect(once).to.be.above(0);
      const gradients = await read(model.gradients);
      expect(await add(2)).to.be.closeTo(2 * once, 1e-6 * once);
      const norm = Math.hypot(...gradients);
      (await read(model.gradients)).forEach((g, i) =>
        expect(g).to.be.closeTo(3 * gradients[i]!, 1e-5 * norm),
      );
      expect(norm).to.be.above(0);
    }
  });

  it("sums of outputs are those of all micro-batches, one for each row", async () => {
    const rows = model.layout.reduce((sum, { shape }) => sum + shape[0]!, 0);
    const outputSums = addon().createVector(rows);
    const report = await model.accumulate(batch, { ...plain, outputSums });
    const once = await read(outputSums);
    expect(Math.min(...once)).to.be.above(0);
    await model.accumulate(batch, { ...plain, outputSums });
    (await read(outputSums)).forEach((sum, i) => expect(sum).to.be.closeTo(2 * once[i]!, 1e-5 * sum));
    const without = await model.accumulate(batch, plain);
    expect(without.lossSum).to.be.closeTo(report.lossSum, 1e-5);
    (await read(outputSums)).forEach((sum, i) => expect(sum).to.be.closeTo(2 * once[i]!, 1e-5 * sum));
    refused(
      () => model.accumulate(batch, { ...plain, outputSums: addon().createVector(rows + 1) }),
      "INVALID_ARGUMENT",
      `outputSums has ${rows + 1} elements, expected ${rows}`,
    );
  });

  it("rows are masked tensor by tensor", async () => {
    const tensors: TensorLayout[] = [
      { name: "a", shape: [2, 3], offset: 0 },
      { name: "b", shape: [3, 1], offset: 6 },
    ];
    const values = vector([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // Medians: 1.5 of (1, 2), 4 of (5, 4, 3).
    addon().maskRows(values, vector([1, 2, 5, 4, 3]), tensors, 0.5);
    expect(await read(values)).to.deep.equal([0, 0, 0, 4, 5, 6, 7, 8, 0]);
    const sums = vector([1, 2, 3, 4, 5]);
    refused(() => addon().maskRows(values, sums, tensors, 1.5), "INVALID_ARGUMENT", "maskRows: at is 1.5");
    refused(
      () => addon().maskRows(values, vector([1]), tensors, 0.5),
      "INVALID_ARGUMENT",
      "9 elements in 5 rows",
      "sums has 1",
    );
    refused(
      () => addon().maskRows(values, sums, [{ name: "a", shape: [9], offset: 0 }], 0.5),
      "INVALID_ARGUMENT",
      "tensors[0].shape",
    );
    const huge = Number.MAX_SAFE_INTEGER;
    refused(
      () => addon().maskRows(values, sums, [{ name: "a", shape: [huge, huge], offset: 0 }], 0.5),
      "INVALID_ARGUMENT",
      "maskRows: tensors have",
    );
  });

  it("wrong use is refused by name", async () => {
    refused(
      () => model.setFrozen(addon().createVector(model.parameters.length + 1)),
      "INVALID_ARGUMENT",
      "setFrozen: adapters",
      "multiple",
    );
    refused(() => model.addOverlapGradient(NaN), "INVALID_ARGUMENT", "addOverlapGradient: weight is NaN");
    refused(
      () => model.addOrthogonalityGradient({ ...orthogonality, form: "cubed" as "squared" }),
      "INVALID_ARGUMENT",
      "options.form",
      "cubed",
    );
    const full = await addon().loadModel({ ...(await modelOptions()), trainable: { kind: "full" } });
    try {
      const rows = addon().createVector(1);
      expect([full.frozenAdapters, full.copyFrozen().length]).to.deep.equal([0, 0]);
      for (const attempt of [
        () => full.freezeAdapter(),
        () => full.setFrozen(null),
        () => full.addOverlapGradient(1),
        () => full.addOrthogonalityGradient(orthogonality),
        () => full.accumulate(batch, { ...plain, outputSums: rows }),
      ])
        refused(attempt, "INVALID_ARGUMENT", "has no adapter");
    } finally {
      full.dispose();
    }
  });
});
