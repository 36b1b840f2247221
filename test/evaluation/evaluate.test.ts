import { expect } from "chai";
import { hash } from "../../lib/data/random.js";
import type { AskedModel } from "../../lib/evaluation/answers.js";
import { batchesByLength } from "../../lib/evaluation/batches.js";
import { evaluateTask, type Evaluation } from "../../lib/evaluation/evaluate.js";
import type {
  AbortFlag,
  EmbedOptions,
  GenerateOptions,
  Model,
  ScoreOptions,
} from "../../lib/native/contract.js";
import { rejection } from "../data/folder.js";

/** Each character is a token: its code. */
const tokenizer = {
  encode: (texts: readonly string[]): Promise<Int32Array[]> =>
    Promise.resolve(texts.map((text) => Int32Array.from(text, (character) => character.charCodeAt(0)))),
  decodeBatch: (batch: readonly ArrayLike<number>[]): Promise<string[]> =>
    Promise.resolve(batch.map((ids) => String.fromCharCode(...Array.from(ids)))),
};

function cut(ids: Int32Array, lengths: Int32Array): string[] {
  let offset = 0;
  return Array.from(lengths, (length) => String.fromCharCode(...ids.subarray(offset, (offset += length))));
}

/**
 * Answers a prompt with itself in upper case; scores an option by a hash of prompt and option times its length; embeds a text as a hash
 * of it.
 */
class FakeModel implements Pick<Model, "generate" | "scoreOptions" | "embed"> {
  readonly batches: string[][] = [];
  readonly asked: GenerateOptions[] = [];

  embed({ inputIds, inputLengths }: EmbedOptions): Promise<Float32Array> {
    const texts = cut(inputIds, inputLengths);
    this.batches.push(texts);
    return Promise.resolve(Float32Array.from(texts.flatMap(embedding)));
  }

  async generate(options: GenerateOptions): Promise<Int32Array[]> {
    this.asked.push(options);
    const prompts = cut(options.inputIds, options.inputLengths);
    for (const i of prompts.keys()) {
      if (options.abort?.aborted)
        throw Object.assign(new Error("stopped by the caller"), { code: "ABORTED" });
      options.onEnded?.(Int32Array.of(i));
    }
    return tokenizer.encode(prompts.map((prompt) => prompt.toUpperCase().slice(0, options.maxNewTokens)));
  }

  scoreOptions(options: ScoreOptions): Promise<Float64Array> {
    const prompts = cut(options.inputIds, options.inputLengths);
    this.batches.push(prompts);
    const texts = cut(options.optionIds, options.optionLengths);
    return Promise.resolve(
      Float64Array.from(texts, (text, i) => logProbability(prompts[options.optionPrompts[i]!]!, text)),
    );
  }
}

function logProbability(prompt: string, option: string): number {
  return (-hash(1, ...Array.from(prompt + option, (c) => c.charCodeAt(0))) / 2 ** 32) * option.length;
}

/** Three numbers of length 1. */
function embedding(text: string): number[] {
  const numbers = [0, 1, 2].map((i) => hash(i, ...Array.from(text, (c) => c.charCodeAt(0))) / 2 ** 32 - 0.5);
  return numbers.map((number) => number / Math.hypot(...numbers));
}

const prompts = Array.from({ length: 40 }, (_, i) => `p${i}${"x".repeat(hash(2, i) % 30)}`);
const records = prompts.map((prompt) => Int32Array.from(prompt, (c) => c.charCodeAt(0)));
const candidates = ["alpha", "be", "gamma ray", "d"];

/** The slow and obvious form: one prompt and one option at a time. */
function best(prompt: string, options: readonly string[], rank: "mean" | "sum"): string {
  const score = (option: string): number =>
    logProbability(prompt, option) / (rank === "mean" ? option.length : 1);
  return options.reduce((a, b) => (score(b) > score(a) ? b : a));
}

const asked = (model: FakeModel = new FakeModel(), family: "t5" | "encoder" = "t5"): AskedModel => ({
  model,
  tokenizer,
  endTokenIds: [1, 7],
  format: {
    family,
    encodeCandidates: (texts, withEnd) =>
      tokenizer.encode(texts.map((text) => (withEnd ? `${text}.` : text))),
  },
});

const evaluate = (
  references: readonly string[],
  options: Parameters<typeof evaluateTask>[3],
  model: FakeModel = new FakeModel(),
): Promise<Evaluation> => evaluateTask(asked(model), records, references, options);

describe("evaluateTask", () => {
  it("generates in one call with the budget and gives the answers in the records' order", async () => {
    const model = new FakeModel();
    const references = prompts.map((prompt, i) => (i % 4 === 0 ? "wrong" : ` ${prompt}</s>`));
    const result = await evaluate(references, { by: "generate", batchTokens: 50 }, model);
    expect(result.predictions).to.deep.equal(prompts.map((prompt) => prompt.toUpperCase()));
    expect(result).to.include({ accuracy: 75, correct: 30, total: 40 });
    expect(result).not.to.have.property("ownLabelAccuracy");
    expect(model.asked.length).to.equal(1);
    const { endTokenIds, batchTokens, maxNewTokens } = model.asked[0]!;
    expect({ endTokenIds, batchTokens, maxNewTokens }).to.deep.equal({
      ...{ endTokenIds: [1, 7], batchTokens: 50, maxNewTokens: 128 },
    });
  });

  it("scores in batches within the budget, the longest first", async () => {
    const model = new FakeModel();
    await evaluate(prompts, { by: "score", candidates: ["a", "be"], batchTokens: 50 }, model);
    // Every prompt brings the candidates' three tokens.
    const sizes = model.batches.map((batch) => batch.join("").length + 3 * batch.length);
    expect(Math.max(...sizes)).to.be.at.most(50);
    const lengths = model.batches.flat().map((prompt) => prompt.length);
    expect(lengths).to.deep.equal([...lengths].sort((a, b) => b - a));
  });

  it("gives the same whatever the batch size, also where a prompt alone is over it", async () => {
    for (const by of ["generate", "score"] as const) {
      const results = [];
      for (const batchTokens of [1, 60, 1e6]) {
        const options =
          by === "score" ? { by, candidates, ownLabels: ["d", "be"], batchTokens } : { by, batchTokens };
        results.push(await evaluate(prompts, options));
      }
      expect(results[1]).to.deep.equal(results[0]);
      expect(results[2]).to.deep.equal(results[0]);
    }
  });

  it("limits the new tokens", async () => {
    const { predictions } = await evaluate(prompts, { by: "generate", maxNewTokens: 2 });
    expect(predictions).to.deep.equal(prompts.map((prompt) => prompt.toUpperCase().slice(0, 2)));
  });

  for (const rank of ["mean", "sum"] as const) {
    it(`scores candidates and takes the best by ${rank}, own labels beside it`, async () => {
      const references = prompts.map((prompt) => best(prompt, candidates, rank).toUpperCase());
      references[3] = "none";
      const ownLabels = ["Gamma Ray", "d"];
      const result = await evaluate(references, {
        by: "score",
        candidates,
        ownLabels,
        rank,
        batchTokens: 100,
      });
      expect(result.predictions).to.deep.equal(prompts.map((prompt) => best(prompt, candidates, rank)));
      expect(result.correct).to.equal(39);
      expect(result.accuracy).to.equal(97.5);
      const own = prompts.filter(
        (prompt, i) => best(prompt, ["gamma ray", "d"], rank).toUpperCase() === references[i],
      ).length;
      expect(own).to.be.within(1, 38);
      expect(result.ownLabelAccuracy).to.equal((100 * own) / 40);
    });
  }

  it("counts candidates that normalise to the same once, in the first spelling", async () => {
    const spelt = ["True", " true", "TRUE</s>", "False"];
    const { predictions } = await evaluate(prompts, { by: "score", candidates: spelt });
    expect(new Set(predictions)).to.deep.equal(new Set(["True", "False"]));
  });

  it("scores what ends a candidate where asked", async () => {
    const { predictions } = await evaluate(prompts, {
      by: "score",
      candidates,
      candidateSpecialTokens: true,
    });
    const ended = candidates.map((candidate) => `${candidate}.`);
    expect(predictions.map((text) => `${text}.`)).to.deep.equal(
      prompts.map((prompt) => best(prompt, ended, "mean")),
    );
  });

  describe("with an encoder", () => {
    const nearest = (text: string, among: readonly string[]): string => {
      const cosine = (label: string): number =>
        embedding(text).reduce((sum, x, i) => sum + Math.fround(x) * Math.fround(embedding(label)[i]!), 0);
      return among.reduce((a, b) => (cosine(b) > cosine(a) ? b : a));
    };

    it("takes the label nearest by cosine, own labels beside it, each embedded once", async () => {
      const references = prompts.map((prompt) => nearest(prompt, candidates));
      references[0] = "none";
      const ownLabels = ["gamma ray", "d"];
      for (const batchTokens of [1, 60, 1e6]) {
        const model = new FakeModel();
        const options = { by: "score", candidates, ownLabels, batchTokens } as const;
        const result = await evaluateTask(asked(model, "encoder"), records, references, options);
        expect(result.predictions).to.deep.equal(prompts.map((prompt) => nearest(prompt, candidates)));
        expect(result).to.include({ correct: 39, accuracy: 97.5 });
        const own = prompts.filter((prompt, i) => nearest(prompt, ownLabels) === references[i]).length;
        expect(own).to.be.within(1, 38);
        expect(result.ownLabelAccuracy).to.equal((100 * own) / 40);
        expect(model.batches.flat().sort()).to.deep.equal([...prompts, ...candidates].sort());
      }
    });

    it("refuses to generate", async () => {
      const error = await rejection(
        evaluateTask(asked(new FakeModel(), "encoder"), records, prompts, { by: "generate" }),
      );
      expect(error.code).to.equal("CONFIG_INVALID");
      expect(error.message).to.match(/an encoder, which writes no text; evaluate it by "score"/);
    });
  });

  it("measures Rouge-L where asked", async () => {
    const references = prompts.map((prompt, i) => (i % 2 === 0 ? `${prompt} and` : "nothing in common"));
    const result = await evaluate(references, { by: "generate", metric: "rouge-l" });
    // One of one predicted word, one of two reference words: F1 = 2/3, for every other record.
    expect(result.accuracy).to.be.closeTo(100 / 3, 1e-9);
    expect(result.correct).to.equal(0);
  });

  for (const by of ["generate", "score"] as const) {
    it(`reports progress and stops at the abort flag: ${by}`, async () => {
      const flag = { aborted: false, abort: () => (flag.aborted = true) };
      const seen: number[] = [];
      const onProgress = (done: number, total: number): void => {
        expect(total).to.equal(40);
        seen.push(done);
        if (done >= 20) flag.abort();
      };
      const options = { batchTokens: 60, abort: flag as AbortFlag, onProgress };
      const error = await rejection(
        evaluate(prompts, by === "score" ? { by, candidates, ...options } : { by, ...options }),
      );
      expect(error.code).to.equal("ABORTED");
      expect(error.message).to.contain(`after ${seen.at(-1)} of 40 records`);
      expect(seen.at(-1)).to.be.within(20, 39);
    });
  }

  it("refuses arguments that do not fit together", async () => {
    const cases: [Promise<unknown>, string][] = [
      [evaluate(["a"], { by: "generate" }), "40 records and 1 references"],
      [evaluateTask(asked(), [], [], { by: "generate" }), "0 records"],
      [evaluate(prompts, { by: "score", candidates: [] }), "there are no candidates"],
      [evaluate(prompts, { by: "score", candidates: ["a", ""] }), 'candidate "" has no tokens'],
      [evaluate(prompts, { by: "score", candidates, ownLabels: ["zeta"] }), 'own label "zeta" is not among'],
      [evaluate(prompts, { by: "score", candidates, ownLabels: [] }), "ownLabels is empty"],
      [evaluate(prompts, { by: "generate", batchTokens: 0 }), "batchTokens is 0"],
    ];
    for (const [promise, message] of cases) {
      const error = await rejection(promise);
      expect(error.code).to.equal("INVALID_ARGUMENT");
      expect(error.message).to.contain(message);
    }
  });
});

describe("batchesByLength", () => {
  it("takes every item once, within the budget unless alone, and opens no batch needlessly", () => {
    for (let trial = 0; trial < 50; trial++) {
      const lengths = Array.from({ length: hash(trial, 0) % 30 }, (_, i) => 1 + (hash(trial, 1, i) % 40));
      const batches = batchesByLength(lengths, 64);
      const all = batches.flat().sort((a, b) => a - b);
      expect(all).to.deep.equal(lengths.map((_, i) => i));
      const sum = (batch: number[]): number => batch.reduce((total, i) => total + lengths[i]!, 0);
      batches.forEach((batch, b) => {
        expect(sum(batch) <= 64 || batch.length === 1).to.equal(true);
        if (b > 0) expect(sum(batches[b - 1]!) + lengths[batch[0]!]!).to.be.above(64);
      });
    }
  });
});
