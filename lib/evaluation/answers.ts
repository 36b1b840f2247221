import type { RecordFormat } from "../data/formats/record-format.js";
import { concatenate } from "../data/pack.js";
import type { Tokenizer } from "../models/tokenizer.js";
import type { Model } from "../native/contract.js";
import { inBatches, type BatchOptions } from "./batches.js";
import { generateTokens } from "./generate.js";
import { pickBest, prepareCandidates, type CandidateOptions } from "./candidates.js";

/** A model that is asked for answers, with what codes and decodes them. */
export interface AskedModel {
  readonly model: Pick<Model, "generate" | "scoreOptions" | "embed">;
  readonly tokenizer: Pick<Tokenizer, "decodeBatch">;
  /** Generation ends with any of these. */
  readonly endTokenIds: readonly number[];
  readonly format: Pick<RecordFormat, "family" | "encodeCandidates">;
}

/** In the order of the prompts. */
export interface Answers {
  predictions: string[];
  /** The best of the own labels, where there are any. */
  own?: string[];
}

/** What the model writes behind every prompt. */
export async function generateAnswers(
  { model, tokenizer, endTokenIds }: AskedModel,
  prompts: readonly Int32Array[],
  { maxNewTokens = 128, ...options }: BatchOptions & { maxNewTokens?: number },
): Promise<Answers> {
  const generated = await generateTokens(model, prompts, options, {
    maxNewTokens,
    endTokenIds: [...endTokenIds],
  });
  return { predictions: await tokenizer.decodeBatch(generated, true) };
}

/** The candidate that is most probable behind every prompt. */
export async function scoreAnswers(
  { model, format }: AskedModel,
  prompts: readonly Int32Array[],
  options: BatchOptions & CandidateOptions,
): Promise<Answers> {
  const candidates = await prepareCandidates(format, options);
  const { ids } = candidates;
  const answers = chosenAnswers(candidates, prompts.length);
  const tokens = ids.reduce((total, option) => total + option.length, 0);
  await inBatches(prompts, tokens, options, async (batch, packed) => {
    const repeated = concatenate(batch.flatMap(() => ids));
    const scores = await model.scoreOptions({
      ...packed,
      optionIds: repeated.ids,
      optionLengths: repeated.lengths,
      optionPrompts: Int32Array.from(repeated.lengths, (_, i) => Math.floor(i / ids.length)),
    });
    batch.forEach((prompt, i) =>
      answers.choose(prompt, scores.subarray(i * ids.length, (i + 1) * ids.length)),
    );
  });
  return answers;
}

/** The candidate whose embedding is nearest to every text's, by cosine. */
export async function compareAnswers(
  { model, format }: AskedModel,
  texts: readonly Int32Array[],
  options: BatchOptions & CandidateOptions,
): Promise<Answers> {
  const candidates = { ...(await prepareCandidates(format, options)), rank: "sum" as const };
  const labels = await embedAll(model, candidates.ids, options);
  const answers = chosenAnswers(candidates, texts.length);
  await inBatches(texts, 0, options, async (batch, packed) => {
    const embedded = rows(await model.embed(packed), batch.length);
    batch.forEach((text, i) =>
      answers.choose(
        text,
        Float64Array.from(labels, (label) => dot(label, embedded[i]!)),
      ),
    );
  });
  return answers;
}

async function embedAll(
  model: Pick<Model, "embed">,
  texts: readonly Int32Array[],
  { batchTokens, abort }: BatchOptions,
): Promise<Float32Array[]> {
  const embedded = new Array<Float32Array>(texts.length);
  const options = { ...(batchTokens === undefined ? {} : { batchTokens }), ...(abort ? { abort } : {}) };
  await inBatches(texts, 0, options, async (batch, packed) => {
    const found = rows(await model.embed(packed), batch.length);
    batch.forEach((text, i) => (embedded[text] = found[i]!));
  });
  return embedded;
}

function chosenAnswers(
  candidates: Awaited<ReturnType<typeof prepareCandidates>>,
  count: number,
): Answers & { choose(prompt: number, scores: Float64Array): void } {
  const { texts, own } = candidates;
  const predictions = new Array<string>(count);
  const ownPredictions = new Array<string>(count);
  return {
    predictions,
    ...(own ? { own: ownPredictions } : {}),
    choose(prompt, scores) {
      predictions[prompt] = texts[pickBest(candidates, scores)]!;
      if (own) ownPredictions[prompt] = texts[pickBest(candidates, scores, own)]!;
    },
  };
}

function rows(values: Float32Array, count: number): Float32Array[] {
  const width = values.length / count;
  return Array.from({ length: count }, (_, i) => values.subarray(i * width, (i + 1) * width));
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
