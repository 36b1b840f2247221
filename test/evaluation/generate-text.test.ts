import { expect } from "chai";
import { generateText, type GenerateTextOptions } from "../../lib/evaluation/generate-text.js";
import type { GenerateOptions, Model } from "../../lib/native/contract.js";
import { LetterTokenizer } from "../data/formats/letters.js";
import { rejection } from "../data/folder.js";

const tokenizer = new LetterTokenizer();

/** Answers with the prompt's letters backwards and an end token, a token a step for all prompts, telling of every step in a turn of its own. */
class Mirror implements Pick<Model, "generate"> {
  readonly calls: GenerateOptions[] = [];
  steps = 0;

  async generate(options: GenerateOptions): Promise<Int32Array[]> {
    this.calls.push(options);
    const { inputIds, inputLengths, maxNewTokens, onTokens, onEnded, abort } = options;
    let offset = 0;
    const answers = Array.from(inputLengths, (length) => {
      const prompt = inputIds.subarray(offset, (offset += length));
      const letters = prompt.filter((id) => id > 1000 && id !== tokenizer.id(" ")).reverse();
      return Int32Array.of(...letters, 2).subarray(0, maxNewTokens);
    });
    for (let step = 0; step < Math.max(...answers.map(({ length }) => length)); step++, this.steps++) {
      await new Promise(setImmediate);
      if (abort?.aborted) throw Object.assign(new Error("stopped by the caller"), { code: "ABORTED" });
      const growing = [...answers.keys()].filter((i) => step < answers[i]!.length);
      onTokens?.(
        Int32Array.from(growing),
        Int32Array.from(growing, (i) => answers[i]![step]!),
      );
      const ended = growing.filter((i) => step === answers[i]!.length - 1);
      if (ended.length > 0) onEnded?.(Int32Array.from(ended));
    }
    return answers;
  }
}

function generate(
  prompts: Parameters<typeof generateText>[1],
  options: GenerateTextOptions = {},
  model: Mirror = new Mirror(),
  config: object = { family: "decoder", modelType: "llama", maxTokens: null },
): Promise<string[]> {
  const loaded = { model, tokenizer, config, folder: "model", endTokenIds: [2, 3], endTokenId: 2 };
  return generateText(loaded as unknown as Parameters<typeof generateText>[0], prompts, options);
}

describe("generateText", () => {
  const prompts = ["ab", "a longer one", "c", "middle"];
  const mirrored = prompts.map((prompt) => [...prompt.replaceAll(" ", "")].reverse().join(""));

  it("asks for all answers in one call, with the budget, and gives them in the order of the prompts", async () => {
    for (const batchTokens of [1, 12, undefined]) {
      const model = new Mirror();
      const done: number[] = [];
      const onProgress = (count: number, total: number): void => void done.push(count, total);
      const options = batchTokens === undefined ? {} : { batchTokens };
      expect(await generate(prompts, { ...options, onProgress }, model)).to.deep.equal(mirrored);
      expect(model.calls.length).to.equal(1);
      const { endTokenIds, maxNewTokens, sampling, onTokens, batchTokens: passed } = model.calls[0]!;
      expect({ endTokenIds, maxNewTokens, sampling, onTokens, passed }).to.deep.equal({
        ...{ endTokenIds: [2, 3], maxNewTokens: 128, sampling: undefined, onTokens: undefined },
        passed: batchTokens ?? 8192,
      });
      expect(done).to.deep.equal([1, 4, 2, 4, 3, 4, 4, 4]);
    }
  });

  it("tells the answers' pieces as they come", async () => {
    const told: [number, string][] = [];
    const answers = await generate(prompts, { onText: (prompt, piece) => told.push([prompt, piece]) });
    prompts.forEach((_, i) => {
      const pieces = told.filter(([prompt]) => prompt === i).map(([, piece]) => piece);
      expect(pieces.join("")).to.equal(answers[i]);
      expect(pieces.length).to.equal(answers[i]!.length);
    });
    // All prompts' first letters come before any second one.
    expect(new Set(told.slice(0, 4).map(([prompt]) => prompt)).size).to.equal(4);
  });

  it("hands an error of a listener on; that of the text stops the model", async () => {
    const fail = (): void => {
      throw new Error("the pipe is gone");
    };
    const model = new Mirror();
    const long = "a".repeat(50);
    expect((await rejection(generate([long], { onText: fail }, model))).message).to.equal("the pipe is gone");
    expect(model.steps).to.be.below(10);
    expect((await rejection(generate(["ab"], { onProgress: fail }))).message).to.equal("the pipe is gone");
  });

  it("takes a text as the whole prompt and a record as in training, or either with a template", async () => {
    const seen = async (prompt: string | { instruction?: string; input: string }, promptTemplate?: string): Promise<string> => {
      const model = new Mirror();
      await generate([prompt], promptTemplate === undefined ? {} : { promptTemplate }, model);
      expect(model.calls[0]!.inputIds[0], "BOS").to.equal(1);
      return tokenizer.decode(model.calls[0]!.inputIds);
    }; // prettier-ignore
    expect(await seen("Hi")).to.equal("Hi");
    expect(await seen({ instruction: "Do", input: "it" })).to.match(
      /^Below.*:\nDo\n.*:\nit\n\n### Response:\n$/s,
    );
    expect(await seen("Hi", "alpaca")).to.match(/### Instruction:\nHi\n\n### Response:\n$/);
    expect(await seen("Hi", "Q: {input}")).to.equal("Q: Hi");
    expect(await seen("Hi", "Do {instruction}!")).to.equal("Do Hi!");
    expect(await seen({ input: "x".repeat(2000) }, "plain")).to.have.length(2000);
  });

  it("samples with what is given and defaults for the rest; draws belong to a prompt's place in the list", async () => {
    const model = new Mirror();
    await generate(["ab", "cd", "efg"], { sampling: { temperature: 0.5 }, batchTokens: 1 }, model);
    // Without keys they are the indices.
    expect(model.calls[0]!.sampling).to.deep.equal({ temperature: 0.5, topP: 1, seed: 42 });
  });

  it("stops at the signal", async () => {
    const controller = new AbortController();
    const options = { signal: controller.signal, onProgress: () => controller.abort() };
    const model = new Mirror();
    const error = await rejection(generate(prompts, options, model));
    expect(error.code).to.equal("ABORTED");
    expect(error.message).to.equal("stopped after 1 of 4 records");
    expect(model.steps).to.equal(2);
  });

  it("refuses an encoder, and a prompt that the model cannot take", async () => {
    const encoder = { family: "encoder", modelType: "bert", maxTokens: 512 };
    const error = await rejection(generate(["a"], {}, new Mirror(), encoder));
    expect(error.code).to.equal("CONFIG_UNSUPPORTED");
    expect(error.message).to.match(
      /model is an encoder \("model_type": "bert"\), which writes no text; use a T5 or a decoder/,
    );
    const short = { family: "decoder", modelType: "llama", maxTokens: 5 };
    const long = await rejection(generate(["a", "abcdef"], {}, new Mirror(), short));
    expect(long.message).to.equal("prompt 1 has 8 tokens; the model takes at most 5");
  });
});
