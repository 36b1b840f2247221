import { concatenate } from "../data/pack.js";
import { RkifError } from "../errors.js";
import type { Tokenizer } from "../models/tokenizer.js";
import type { AbortFlag, Model } from "../native/contract.js";
import { normaliseAnswer } from "./exact-match.js";
import { rougeL } from "./rouge-l.js";
import { pickBest, prepareCandidates, type CandidateOptions } from "./candidates.js";

interface CommonOptions {
  /**
   * "exact-match" (default): share of answers equal to the reference after normalisation. "rouge-l": mean Rouge-L F1, stemmed.
   * Either in percent.
   */
  metric?: "exact-match" | "rouge-l";
  /** Most tokens of one call of the model: prompts and, when scoring, their candidates. A larger prompt goes alone. Default 16384. */
  batchTokens?: number;
  abort?: AbortFlag;
  /** Called after every batch. */
  onProgress?: (done: number, total: number) => void;
}

export interface GenerateEvaluation extends CommonOptions {
  by: "generate";
  /** Default 128. */
  maxNewTokens?: number;
}

export interface ScoreEvaluation extends CommonOptions, CandidateOptions {
  by: "score";
}

export type EvaluateOptions = GenerateEvaluation | ScoreEvaluation;

export interface Evaluation {
  /** The metric in percent, unrounded. */
  accuracy: number;
  /** Answers equal to the reference, whatever the metric. */
  correct: number;
  total: number;
  /** In the order of the records: the decoded text, or the best candidate. */
  predictions: string[];
  /** When scoring with `ownLabels`: the metric with these as the only candidates. */
  ownLabelAccuracy?: number;
}

/**
 * Asks the model for every record's answer and compares it with the reference. Records are batched by length, longest first, so
 * that the largest batch comes first and memory cannot run out late; results are in the records' order.
 * @throws {RkifError} ABORTED where `abort` was raised, INVALID_ARGUMENT for arguments that do not fit together.
 */
export async function evaluateTask(
  model: Pick<Model, "generate" | "scoreOptions">,
  tokenizer: Pick<Tokenizer, "encode" | "decodeBatch">,
  records: readonly { readonly inputIds: Int32Array }[],
  references: readonly string[],
  options: EvaluateOptions,
): Promise<Evaluation> {
  if (records.length === 0 || records.length !== references.length) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `there are ${records.length} records and ${references.length} references; expected as many of both, at least one`,
    );
  }
  const { metric = "exact-match" } = options;
  const answers =
    options.by === "generate"
      ? await generateAnswers(model, tokenizer, records, options)
      : await scoreAnswers(model, tokenizer, records, options);
  return {
    accuracy: measure(answers.predictions, references, metric),
    correct: countMatches(answers.predictions, references),
    total: references.length,
    predictions: answers.predictions,
    ...(answers.own && { ownLabelAccuracy: measure(answers.own, references, metric) }),
  };
}

interface Answers {
  predictions: string[];
  own?: string[];
}

type Prompt = { readonly inputIds: Int32Array };

async function generateAnswers(
  model: Pick<Model, "generate">,
  tokenizer: Pick<Tokenizer, "decodeBatch">,
  records: readonly Prompt[],
  { maxNewTokens = 128, ...options }: GenerateEvaluation,
): Promise<Answers> {
  const predictions = new Array<string>(records.length);
  await inBatches(records, 0, options, async (batch, prompts, abort) => {
    const generated = await model.generate({ ...prompts, maxNewTokens, ...abort });
    const texts = await tokenizer.decodeBatch(generated, true);
    batch.forEach((record, i) => (predictions[record] = texts[i]!));
  });
  return { predictions };
}

async function scoreAnswers(
  model: Pick<Model, "scoreOptions">,
  tokenizer: Pick<Tokenizer, "encode">,
  records: readonly Prompt[],
  options: ScoreEvaluation,
): Promise<Answers> {
  const candidates = await prepareCandidates(tokenizer, options);
  const { texts, ids, own } = candidates;
  const predictions = new Array<string>(records.length);
  const ownPredictions = new Array<string>(records.length);
  const tokens = ids.reduce((total, option) => total + option.length, 0);
  await inBatches(records, tokens, options, async (batch, prompts, abort) => {
    const repeated = concatenate(batch.flatMap(() => ids));
    const scores = await model.scoreOptions({
      ...prompts,
      optionIds: repeated.ids,
      optionLengths: repeated.lengths,
      optionPrompts: Int32Array.from(repeated.lengths, (_, i) => Math.floor(i / ids.length)),
      ...abort,
    });
    batch.forEach((record, i) => {
      const sums = scores.subarray(i * ids.length, (i + 1) * ids.length);
      predictions[record] = texts[pickBest(candidates, sums)]!;
      if (own) ownPredictions[record] = texts[pickBest(candidates, sums, own)]!;
    });
  });
  return own ? { predictions, own: ownPredictions } : { predictions };
}

/** Runs `work` on batches of record numbers, longest prompts first; every prompt costs its tokens and `extraTokens`. */
async function inBatches(
  records: readonly Prompt[],
  extraTokens: number,
  { batchTokens = 16384, abort, onProgress }: CommonOptions,
  work: (
    batch: readonly number[],
    prompts: { inputIds: Int32Array; inputLengths: Int32Array },
    abort: { abort?: AbortFlag },
  ) => Promise<void>,
): Promise<void> {
  if (!(batchTokens >= 1)) {
    throw new RkifError("INVALID_ARGUMENT", `batchTokens is ${batchTokens}; expected a number of at least 1`);
  }
  let done = 0;
  const lengths = records.map((record) => record.inputIds.length + extraTokens);
  for (const batch of batchesByLength(lengths, batchTokens)) {
    if (abort?.aborted)
      throw new RkifError("ABORTED", `evaluation stopped after ${done} of ${records.length} records`);
    const { ids: inputIds, lengths: inputLengths } = concatenate(batch.map((i) => records[i]!.inputIds));
    await work(batch, { inputIds, inputLengths }, abort === undefined ? {} : { abort });
    done += batch.length;
    onProgress?.(done, records.length);
  }
}

/** Item numbers by falling length (equal lengths in order), cut so that no batch's lengths sum to more than the budget unless it is one item. */
export function batchesByLength(lengths: readonly number[], budget: number): number[][] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const batches: number[][] = [];
  let room = -1;
  for (const i of order) {
    if (room < lengths[i]! || batches.length === 0) {
      batches.push([]);
      room = budget;
    }
    batches.at(-1)!.push(i);
    room -= lengths[i]!;
  }
  return batches;
}

function measure(
  predictions: readonly string[],
  references: readonly string[],
  metric: "exact-match" | "rouge-l",
): number {
  if (metric === "exact-match") return (100 * countMatches(predictions, references)) / references.length;
  const scores = predictions.map((prediction, i) => rougeL(prediction, references[i]!).fmeasure);
  return (100 * scores.reduce((sum, score) => sum + score, 0)) / references.length;
}

function countMatches(predictions: readonly string[], references: readonly string[]): number {
  return predictions.filter((text, i) => normaliseAnswer(text) === normaliseAnswer(references[i]!)).length;
}
