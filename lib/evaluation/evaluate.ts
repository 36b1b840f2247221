import type { Metric } from "../data/metric.js";
import { normaliseAnswer } from "../data/normalise-answer.js";
import { RkifError } from "../errors.js";
import { compareAnswers, generateAnswers, scoreAnswers, type Answers, type AskedModel } from "./answers.js";
import type { BatchOptions } from "./batches.js";
import type { CandidateOptions } from "./candidates.js";
import { rougeL } from "./rouge-l.js";

interface CommonOptions extends BatchOptions {
  /**
   * "exact-match" (default): share of answers equal to the reference after normalisation. "rouge-l": mean Rouge-L F1, stemmed.
   * Either in percent.
   */
  metric?: Metric;
}

export interface GenerateEvaluation extends CommonOptions {
  by: "generate";
  /** Default 128. */
  maxNewTokens?: number;
}

/** By the probability of the candidates; with an encoder, by the cosine of text and candidate (then `rank` has no meaning). */
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
  /** In the order of the prompts: the decoded text, or the best candidate. */
  predictions: string[];
  /** When scoring with `ownLabels`: the metric with these as the only candidates. */
  ownLabelAccuracy?: number;
}

/**
 * Asks the model for every prompt's answer and compares it with the reference.
 * @param asked a loaded model and the format of its records
 * @param prompts as the format encodes them (`encodePrompts`)
 * @throws {RkifError} ABORTED where `abort` was raised, INVALID_ARGUMENT for arguments that do not fit together, CONFIG_INVALID for
 * generation with an encoder.
 */
export async function evaluateTask(
  asked: AskedModel,
  prompts: readonly Int32Array[],
  references: readonly string[],
  options: EvaluateOptions,
): Promise<Evaluation> {
  if (prompts.length === 0 || prompts.length !== references.length) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `there are ${prompts.length} records and ${references.length} references; expected as many of both, at least one`,
    );
  }
  const { metric = "exact-match" } = options;
  const { predictions, own } = await ask(asked, prompts, options);
  return {
    accuracy: measure(predictions, references, metric),
    correct: countMatches(predictions, references),
    total: references.length,
    predictions,
    ...(own && { ownLabelAccuracy: measure(own, references, metric) }),
  };
}

function ask(asked: AskedModel, prompts: readonly Int32Array[], options: EvaluateOptions): Promise<Answers> {
  const isEncoder = asked.format.family === "encoder";
  if (options.by === "score") return (isEncoder ? compareAnswers : scoreAnswers)(asked, prompts, options);
  if (!isEncoder) return generateAnswers(asked, prompts, options);
  throw new RkifError(
    "CONFIG_INVALID",
    'the answers are to be generated, but the model is an encoder, which writes no text; evaluate it by "score"',
  );
}

function measure(predictions: readonly string[], references: readonly string[], metric: Metric): number {
  if (metric === "exact-match") return (100 * countMatches(predictions, references)) / references.length;
  const scores = predictions.map((prediction, i) => rougeL(prediction, references[i]!).fmeasure);
  return (100 * scores.reduce((sum, score) => sum + score, 0)) / references.length;
}

function countMatches(predictions: readonly string[], references: readonly string[]): number {
  return predictions.filter((text, i) => normaliseAnswer(text) === normaliseAnswer(references[i]!)).length;
}
