/** What steps leave behind on the device; that training comes to the same with it is shown in test/training/task-run.test.ts. */
import { expect } from "chai";
import type { AdamWOptions, Model, StepReports } from "../../lib/native/contract.js";
import { adamwOptions, addon, batch, loadSmallModel, read, refused, rejected } from "./addon.js";

const accumulateOptions = { divisor: 4, lossScale: 1, dropout: null };
const options: AdamWOptions = { ...adamwOptions, maxGradNorm: 1 };
const fresh = { lossSum: 0, gradNorm: 0, nonFinite: 0, applied: false, updates: 0 };

describe("step reports", () => {
  let model: Model;
  let reports: StepReports;
  before(async () => {
    model = await loadSmallModel();
  });
  after(() => model.dispose());
  beforeEach(() => {
    reports = addon().createStepReports(3, model.parameters);
    model.gradients.fill(0);
  });
  afterEach(() => reports.dispose());

  const vectors = () => ({
    parameters: model.parameters,
    gradients: model.gradients,
    m: addon().createVector(model.parameters.length),
    v: addon().createVector(model.parameters.length),
  });

  it("hold the losses that are added to them, and are as new once taken", async () => {
    const told = await model.accumulate(batch, accumulateOptions);
    const into = { reports, index: 1 };
    const kept = await model.accumulate(batch, { ...accumulateOptions, into });
    expect(kept).to.deep.equal({ labelTokens: told.labelTokens });
    await model.accumulate(batch, { ...accumulateOptions, into });
    const [first, second, ...none] = await reports.take(2);
    expect(first).to.deep.equal(fresh);
    expect(second).to.deep.equal({ ...fresh, lossSum: 2 * told.lossSum });
    expect(none).to.deep.equal([]);
    expect(await reports.take(3)).to.deep.equal([fresh, fresh, fresh]);
    expect([reports.capacity, reports.device]).to.deep.equal([3, "cpu"]);
  });

  it("tell what adamwStep would, and count an optimizer's updates without the host", async () => {
    const start = await read(model.parameters);
    await model.accumulate(batch, accumulateOptions);
    const one = vectors();
    const told = [
      await addon().adamwStep(one, options),
      await addon().adamwStep(one, { ...options, update: 2 }),
    ];
    const expected = await read(model.parameters);

    model.parameters.set(Float32Array.from(start));
    const other = vectors();
    addon().adamwStep(other, { ...options, into: { reports, index: 0 } });
    // The number is that after slot 0's, whatever `update` says.
    addon().adamwStep(other, { ...options, update: 40, into: { reports, index: 2, after: 0 } });
    const taken = await reports.take(3);
    expect(taken[0]).to.deep.equal({ ...told[0], lossSum: 0, updates: 1 });
    expect(taken[2]).to.deep.equal({ ...told[1], lossSum: 0, updates: 2 });
    expect(await read(model.parameters)).to.deep.equal(expected);
    model.parameters.set(Float32Array.from(start));
  });

  it("keep a step from being applied whose loss or gradient is not finite", async () => {
    const start = await read(model.parameters);
    model.parameters.set(Float32Array.of(NaN));
    await model.accumulate(batch, { ...accumulateOptions, into: { reports, index: 0 } });
    model.parameters.set(Float32Array.from(start));
    model.gradients.fill(1); // the gradient is fine now: the loss decides
    const all = vectors();
    addon().adamwStep(all, { ...options, update: 7, into: { reports, index: 0 } });
    addon().adamwStep(all, { ...options, into: { reports, index: 1, after: 0 } });
    model.gradients.set(Float32Array.of(Infinity));
    addon().adamwStep(all, { ...options, into: { reports, index: 2, after: 1 } });
    const moved = await read(model.parameters);
    const [skipped, applied, last] = await reports.take(3);
    expect(skipped).to.include({ applied: false, updates: 6, nonFinite: 0 });
    expect(skipped!.lossSum).to.be.NaN;
    expect(applied).to.include({ applied: true, updates: 7 });
    expect(last).to.include({ applied: false, updates: 7, nonFinite: 1 });
    expect(moved.every((x, i) => x !== start[i])).to.equal(true);
    model.parameters.set(Float32Array.from(start));
  });

  it("refuse what is no place of theirs", async () => {
    refused(() => addon().createStepReports(0), "INVALID_ARGUMENT", "createStepReports: capacity is 0");
    refused(() => reports.take(4), "INVALID_ARGUMENT", "take: count is 4");
    const step = (into: object) => () => addon().adamwStep(vectors(), { ...options, into: into as never });
    refused(step({ reports, index: 3 }), "INVALID_ARGUMENT", "adamwStep: options.into.index is 3");
    refused(step({ reports: model.parameters, index: 0 }), "INVALID_ARGUMENT", "options.into.reports");
    refused(step({ reports, index: 1, after: 1 }), "INVALID_ARGUMENT", "options.into.after is 1");
    refused(
      () => void model.accumulate(batch, { ...accumulateOptions, into: { reports, index: -1 } }),
      "INVALID_ARGUMENT",
      "accumulate: options.into.index is -1",
    );
    const gone = addon().createStepReports(1);
    gone.dispose();
    expect(gone.disposed).to.equal(true);
    refused(step({ reports: gone, index: 0 }), "DISPOSED", "options.into.reports");
    refused(() => gone.take(1), "DISPOSED", "StepReports");
    const abort = addon().createAbortFlag();
    abort.abort();
    const into = { reports, index: 0 };
    await rejected(model.accumulate(batch, { ...accumulateOptions, into, abort }), "ABORTED");
    expect(await reports.take(1)).to.deep.equal([fresh]);
  });
});
