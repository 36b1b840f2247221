/** The model's surface; what it computes is compared with transformers in test/parity. */
import { expect } from "chai";
import type { GenerateOptions, Model, ModelOptions, PackedBatch } from "../../lib/native/contract.js";
import { addon, batch, loadSmallModel, read, refused, rejected, modelOptions } from "./addon.js";

const accumulateOptions = { divisor: 4, lossScale: 1, dropout: null };

describe("model", () => {
  let model: Model;
  before(async () => {
    model = await loadSmallModel();
  });
  after(() => model.dispose());

  it("its layout tiles the flat vector", () => {
    let end = 0;
    for (const { name, shape, offset } of model.layout) {
      expect(offset, name).to.equal(end);
      end += shape.reduce((product, n) => product * n, 1);
      expect(name).to.match(/^base_model\.model\..*\.lora_[AB]\.weight$/);
    }
    expect([model.parameters.length, model.gradients.length]).to.deep.equal([end, end]);
    // Encoder, decoder's self and cross attention, two layers each; q and v; A and B.
    expect(model.layout).to.have.length(3 * 2 * 2 * 2);
  });

  it("accumulate adds to the gradients, scaled by lossScale / divisor", async () => {
    model.gradients.fill(0);
    const report = await model.accumulate(batch, accumulateOptions);
    const once = await read(model.gradients);
    expect(once.some((g) => g !== 0)).to.equal(true);
    expect(report.labelTokens).to.equal(4);
    const losses = await model.loss(batch);
    expect(losses).to.be.instanceOf(Float64Array);
    expect(report.lossSum).to.be.closeTo(losses[0]! + losses[1]!, 1e-5);
    // Powers of two scale exactly.
    model.gradients.fill(0);
    const scaled = await model.accumulate(batch, { ...accumulateOptions, divisor: 4, lossScale: 2 });
    expect(scaled).to.deep.equal(report);
    expect(await read(model.gradients)).to.deep.equal(once.map((g) => 2 * g));
    await model.accumulate(batch, { ...accumulateOptions, divisor: 2 });
    const largest = Math.max(...once.map(Math.abs));
    (await read(model.gradients)).forEach((g, i) => expect(g).to.be.closeTo(4 * once[i]!, 1e-5 * largest));
    model.gradients.fill(0);
  });

  it("loss and logits agree", async () => {
    const logits = await model.logits(batch);
    expect(logits.length).to.equal(batch.labels.length * 96);
    const crossEntropy = (position: number): number => {
      const row = Array.from(logits.subarray(position * 96, (position + 1) * 96));
      return Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - row[batch.labels[position]!]!;
    };
    const losses = await model.loss(batch);
    expect(losses[0]).to.be.closeTo(crossEntropy(0) + crossEntropy(1), 1e-4);
    expect(losses[1]).to.be.closeTo(crossEntropy(2) + crossEntropy(4), 1e-4);
  });

  it("merging and unmerging restore the logits bit for bit", async () => {
    const before = await model.logits(batch);
    const parameters = await read(model.parameters);
    model.mergeAdapter();
    const merged = await model.logits(batch);
    model.unmergeAdapter();
    expect(Array.from(await model.logits(batch))).to.deep.equal(Array.from(before));
    expect(await read(model.parameters)).to.deep.equal(parameters);
    let furthest = 0;
    merged.forEach((x, i) => (furthest = Math.max(furthest, Math.abs(x - before[i]!))));
    expect(furthest).to.be.lessThan(1e-4);
    // Without the adapter the logits are others: merging did fold something in.
    model.parameters.fill(0);
    const bare = await model.logits(batch);
    expect(bare.some((x, i) => Math.abs(x - before[i]!) > 1e-3)).to.equal(true);
    model.parameters.set(Float32Array.from(parameters));
  });

  it("an adapter changed while merged is told from the one that is merged", async () => {
    const before = await model.logits(batch);
    const parameters = await read(model.parameters);
    model.mergeAdapter();
    await model.logits(batch);
    model.parameters.fill(0);
    model.unmergeAdapter();
    model.parameters.set(Float32Array.from(parameters));
    expect(Array.from(await model.logits(batch))).to.deep.equal(Array.from(before));
  });

  describe("abort", () => {
    const prompts = { inputIds: batch.inputIds, inputLengths: batch.inputLengths };
    const long: GenerateOptions = { ...prompts, maxNewTokens: 50_000, endTokenIds: [] };

    it("before the call", async () => {
      const abort = addon().createAbortFlag();
      expect(abort.aborted).to.equal(false);
      abort.abort();
      abort.abort();
      expect(abort.aborted).to.equal(true);
      model.gradients.fill(0);
      await rejected(model.accumulate(batch, { ...accumulateOptions, abort }), "ABORTED");
      await rejected(model.loss(batch, abort), "ABORTED");
      await rejected(model.generate({ ...long, abort }), "ABORTED");
      const options = { optionIds: Int32Array.of(9), optionLengths: Int32Array.of(1) };
      await rejected(
        model.scoreOptions({ ...prompts, ...options, optionPrompts: Int32Array.of(0), abort }),
        "ABORTED",
      );
    });

    it("in the middle of generation; the model stays usable", async () => {
      const before = await model.logits(batch);
      const abort = addon().createAbortFlag();
      const work = model.generate({ ...long, abort });
      const later = model.logits(batch);
      setTimeout(() => abort.abort(), 20);
      await rejected(work, "ABORTED");
      expect(Array.from(await later)).to.deep.equal(Array.from(before));
      expect((await model.accumulate(batch, accumulateOptions)).labelTokens).to.equal(4);
    });
  });

  it("generation respects its limits", async () => {
    const prompts = { inputIds: batch.inputIds, inputLengths: batch.inputLengths };
    const rows = await model.generate({ ...prompts, maxNewTokens: 6, endTokenIds: [] });
    expect(rows.map((row) => row.length)).to.deep.equal([6, 6]);
    // Where the second token were the end, it would end there.
    const end = rows[0]![1]!;
    const stopped = await model.generate({ ...prompts, maxNewTokens: 6, endTokenIds: [end] });
    expect(Array.from(stopped[0]!)).to.deep.equal(
      Array.from(rows[0]!.subarray(0, rows[0]!.indexOf(end) + 1)),
    );
    const later = await model.generate({ ...prompts, maxNewTokens: 6, minNewTokens: 3, endTokenIds: [end] });
    expect(later[0]!.length).to.be.at.least(4);
    expect(Array.from(later[0]!.subarray(0, 3))).to.not.include(end);
  });

  it("listeners are told every token, in order and before the promise settles", async () => {
    const told: number[][] = [[], []];
    const rows = await model.generate({
      inputIds: batch.inputIds,
      inputLengths: batch.inputLengths,
      maxNewTokens: 6,
      endTokenIds: [],
      sampling: { temperature: 1, topP: 0.9, seed: 3 },
      onTokens: (prompts, tokens) => prompts.forEach((prompt, i) => told[prompt]!.push(tokens[i]!)),
    });
    expect(told).to.deep.equal(rows.map((row) => Array.from(row)));
  });

  it("few prompts at a time get the same tokens, and ends are told after the tokens", async () => {
    const one = { maxNewTokens: 7, endTokenIds: [1], sampling: { temperature: 2, topP: 1, seed: 5 } };
    const inputLengths = Int32Array.of(2, 1, 4, 1, 1, 3);
    const inputIds = Int32Array.from({ length: 12 }, (_, i) => 5 + ((7 * i) % 80));
    const all = await model.generate({ ...one, inputIds, inputLengths });
    for (const limits of [{ batchTokens: 4 }, { batchRows: 2 }, { batchTokens: 6, batchRows: 3 }]) {
      const told: number[][] = all.map(() => []);
      const ended: number[] = [];
      const rows = await model.generate({
        ...{ ...one, ...limits, inputIds, inputLengths },
        onTokens: (prompts, tokens) => prompts.forEach((prompt, i) => told[prompt]!.push(tokens[i]!)),
        onEnded: (prompts) => {
          for (const prompt of prompts) expect(told[prompt]).to.deep.equal(Array.from(all[prompt]!));
          ended.push(...prompts);
        },
      });
      expect(rows).to.deep.equal(all);
      expect(ended.sort()).to.deep.equal([0, 1, 2, 3, 4, 5]);
    }
  });

  it("a GPU that was not opened takes no model", async () => {
    const options: ModelOptions = { ...(await modelOptions()), device: "cuda:1" };
    await rejected(addon().loadModel(options), "CUDA_UNAVAILABLE", "no GPU is open", "cuda:1", "openCuda");
    expect(() => addon().openCuda("kernels.so", "cpu" as "cuda")).to.throw(
      /openCuda: device.*expected a GPU: "cuda"/,
    );
  });

  it("a language model embeds no texts", async () => {
    const texts = { inputIds: batch.inputIds, inputLengths: batch.inputLengths };
    await rejected(model.embed(texts), "INVALID_ARGUMENT", "encoder");
  });

  it("an option's score is the log probability of its tokens", async () => {
    const scores = await model.scoreOptions({
      inputIds: batch.inputIds,
      inputLengths: batch.inputLengths,
      optionIds: Int32Array.of(9, 1, 10, 10, 1),
      optionLengths: Int32Array.of(2, 1, 2),
      optionPrompts: Int32Array.of(0, 1, 0),
    });
    const asLabels = (option: number[], prompt: number[]): PackedBatch => ({
      inputIds: Int32Array.from(prompt),
      inputLengths: Int32Array.of(prompt.length),
      labels: Int32Array.from(option),
      labelLengths: Int32Array.of(option.length),
      recordKeys: Uint32Array.of(0),
    });
    const [first, second] = [
      [5, 6, 7, 1],
      [8, 1],
    ] as const;
    const expected = [
      asLabels([9, 1], [...first]),
      asLabels([10], [...second]),
      asLabels([10, 1], [...first]),
    ];
    for (const [i, one] of expected.entries())
      expect(scores[i]).to.be.closeTo(-(await model.loss(one))[0]!, 1e-4);
  });

  it("refuses batches that do not fit", () => {
    const loss = (change: Record<string, unknown>) => () => model.loss({ ...batch, ...change });
    const int32 = (...values: number[]) => Int32Array.from(values);
    refused(loss({ inputLengths: int32(4, 1) }), "INVALID_ARGUMENT", "inputLengths add up to 5", "6");
    refused(loss({ inputLengths: int32(6, 0) }), "INVALID_ARGUMENT", "inputLengths[1] is 0");
    refused(loss({ inputLengths: int32(7, -1) }), "INVALID_ARGUMENT", "inputLengths[1] is -1");
    refused(loss({ labelLengths: int32(5) }), "INVALID_ARGUMENT", "labelLengths has 1 entries, expected 2");
    refused(loss({ labelLengths: int32(5, 5) }), "INVALID_ARGUMENT", "labelLengths add up to 10");
    refused(loss({ recordKeys: Uint32Array.of(1) }), "INVALID_ARGUMENT", "recordKeys has 1 entries");
    refused(loss({ inputIds: int32(5, 6, 7, 1, 96, 1) }), "INVALID_ARGUMENT", "inputIds[4] is 96", "96");
    refused(loss({ inputIds: int32(5, 6, 7, 1, -100, 1) }), "INVALID_ARGUMENT", "inputIds[4] is -100");
    refused(loss({ labels: int32(9, 1, 10, -1, 1) }), "INVALID_ARGUMENT", "labels[3] is -1", "-100");
    refused(loss({ labels: int32(9, 1, 10, 96, 1) }), "INVALID_ARGUMENT", "labels[3] is 96");
    refused(loss({ inputIds: [5, 6] }), "INVALID_ARGUMENT", "loss: batch.inputIds is an array", "Int32Array");
    refused(loss({ recordKeys: int32(0, 1) }), "INVALID_ARGUMENT", "recordKeys", "Uint32Array");
    refused(loss({ labels: undefined }), "INVALID_ARGUMENT", "loss: batch.labels is undefined");
    refused(() => model.loss(undefined as never), "INVALID_ARGUMENT", "loss: batch is undefined");
    refused(() => model.loss(batch, {} as never), "INVALID_ARGUMENT", "loss: abort", "an AbortFlag");
    const none = { inputIds: int32(), inputLengths: int32(), labels: int32(), labelLengths: int32() };
    refused(loss({ ...none, recordKeys: new Uint32Array(0) }), "INVALID_ARGUMENT", "is empty");
    refused(
      () => model.generate({ inputIds: int32(), inputLengths: int32(), maxNewTokens: 1, endTokenIds: [] }),
      "INVALID_ARGUMENT",
      "generate: options.inputLengths is empty",
    );
  });

  it("refuses options out of range", () => {
    const accumulate = (change: object) => () => model.accumulate(batch, { ...accumulateOptions, ...change });
    refused(accumulate({ divisor: 0 }), "INVALID_ARGUMENT", "options.divisor is 0");
    refused(accumulate({ lossScale: NaN }), "INVALID_ARGUMENT", "options.lossScale is NaN");
    refused(accumulate({ dropout: undefined }), "INVALID_ARGUMENT", "options.dropout is undefined");
    const counters = { seed: 1, task: 0, loop: 0, step: 0 };
    refused(
      accumulate({ dropout: { ...counters, step: 2 ** 32 } }),
      "INVALID_ARGUMENT",
      "dropout.step",
      "4294967295",
    );
    refused(accumulate({ dropout: { ...counters, seed: -1 } }), "INVALID_ARGUMENT", "dropout.seed is -1");
    refused(accumulate({ abort: { aborted: false } }), "INVALID_ARGUMENT", "options.abort is an object");
    const prompts = { inputIds: batch.inputIds, inputLengths: batch.inputLengths };
    const generate = (change: object) => () =>
      model.generate({ ...prompts, maxNewTokens: 1, endTokenIds: [], ...change });
    refused(generate({ maxNewTokens: 0 }), "INVALID_ARGUMENT", "maxNewTokens is 0");
    refused(generate({ minNewTokens: -1 }), "INVALID_ARGUMENT", "minNewTokens is -1");
    refused(generate({ endTokenIds: [96] }), "INVALID_ARGUMENT", "endTokenIds[0] is 96", "95");
    const sampling = { temperature: 1, topP: 1, seed: 1 };
    refused(generate({ sampling: { ...sampling, temperature: 0 } }), "INVALID_ARGUMENT", "temperature is 0");
    refused(generate({ sampling: { ...sampling, topP: 1.5 } }), "INVALID_ARGUMENT", "topP is 1.5");
    refused(generate({ onTokens: 5 }), "INVALID_ARGUMENT", "onTokens is 5", "a function");
    refused(generate({ onEnded: "x" }), "INVALID_ARGUMENT", 'onEnded is the string "x"', "a function");
    refused(generate({ batchTokens: 0 }), "INVALID_ARGUMENT", "batchTokens is 0", "at least 1");
    refused(generate({ batchRows: -1 }), "INVALID_ARGUMENT", "batchRows is -1", "at least 1");
    const options = {
      optionIds: Int32Array.of(9),
      optionLengths: Int32Array.of(1),
      optionPrompts: Int32Array.of(2),
    };
    refused(
      () => model.scoreOptions({ ...prompts, ...options }),
      "INVALID_ARGUMENT",
      "optionPrompts[0] is 2",
      "2 prompts",
    );
  });

  it("more memory than there is, is an error and not the end", async () => {
    const prompts = { inputIds: batch.inputIds, inputLengths: batch.inputLengths };
    for (const maxNewTokens of [2 ** 44, Number.MAX_SAFE_INTEGER])
      await model.generate({ ...prompts, maxNewTokens, endTokenIds: [] }).then(
        () => expect.fail("generated"),
        (error: { code: string }) =>
          expect(error.code).to.be.oneOf(["OUT_OF_MEMORY", "NATIVE", "INVALID_ARGUMENT"]),
      );
    expect((await model.loss(batch)).length).to.equal(2);
  });
});

describe("loadModel", () => {
  let good: ModelOptions;
  before(async () => {
    good = await modelOptions();
  });
  const load = (change: object) => addon().loadModel({ ...good, ...change });
  const config = (change: object) => ({ config: { ...good.config, ...change } });
  const trainable = (change: object) => ({ trainable: { ...good.trainable, ...change } });

  it("refuses wrong options at the call", () => {
    refused(() => load({ family: "bert" }), "INVALID_ARGUMENT", 'options.family is the string "bert"');
    refused(() => load({ baseType: "float16" }), "INVALID_ARGUMENT", "options.baseType");
    refused(() => load({ files: "x" }), "INVALID_ARGUMENT", "options.files", "an array of strings");
    refused(() => load({ baseDropout: 1 }), "INVALID_ARGUMENT", "options.baseDropout is 1");
    refused(() => load({ copyWeights: 1 }), "INVALID_ARGUMENT", "options.copyWeights is 1");
    refused(() => load(config({ dModel: 0 })), "INVALID_ARGUMENT", "options.config.dModel is 0");
    refused(() => load(config({ activation: "tanh" })), "INVALID_ARGUMENT", "config.activation", "relu");
    refused(() => load(config({ gated: 1 })), "INVALID_ARGUMENT", "options.config.gated is 1");
    refused(() => load(config({ dropoutRate: 1.5 })), "INVALID_ARGUMENT", "config.dropoutRate is 1.5");
    refused(() => load(trainable({ kind: "none" })), "INVALID_ARGUMENT", "trainable.kind", "lora");
    refused(() => load(trainable({ dropout: -0.1 })), "INVALID_ARGUMENT", "trainable.dropout is -0.1");
    const modules = (change: object) => trainable({ modules: [{ module: "x", r: 1, scale: 1, ...change }] });
    refused(() => load(modules({ r: 0 })), "INVALID_ARGUMENT", "modules[0].r is 0");
    refused(() => load(modules({ module: 1 })), "INVALID_ARGUMENT", "modules[0].module is 1");
    refused(() => load(trainable({ modules: "all" })), "INVALID_ARGUMENT", "trainable.modules", "an array");
    refused(
      () => load({ baseType: "bfloat16", trainable: { kind: "full" } }),
      "INVALID_ARGUMENT",
      "options.baseType",
    );
  });

  it("refuses a checkpoint that is not the configuration's, by tensor", async () => {
    await rejected(load({ files: ["/nowhere.safetensors"] }), "CHECKPOINT_INVALID", "/nowhere.safetensors");
    await rejected(load({ files: [] }), "CHECKPOINT_MISMATCH", "shared.weight");
    await rejected(load({ files: [...good.files, ...good.files] }), "CHECKPOINT_INVALID", "earlier file");
    await rejected(load(config({ numLayers: 3 })), "CHECKPOINT_MISMATCH", "block.2");
    await rejected(load(config({ dFf: 41 })), "CHECKPOINT_MISMATCH", "[40, 24]", "[41, 24]");
    await rejected(
      load(trainable({ modules: [{ module: "nothing", r: 1, scale: 1 }] })),
      "INVALID_ARGUMENT",
      "nothing",
      "no linear layer",
    );
  });

  it("every weight trains, and nothing merges", async () => {
    const full = await load({ trainable: { kind: "full" } });
    expect(full.layout.map(({ name }) => name)).to.include("shared.weight");
    expect((await full.accumulate(batch, accumulateOptions)).labelTokens).to.equal(4);
    full.mergeAdapter();
    await rejected(full.loss(batch), "INVALID_ARGUMENT", "adapter");
    full.dispose();
  });
});
