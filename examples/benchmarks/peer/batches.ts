/** What both sides compute on: token ids that are a function of their place, so that every process makes the same. */
import { hash } from "../../../lib/data/random.js";

export type Family = "t5" | "decoder";

/**
 * Records as lists of token ids. T5: `labels` are the targets, the end token last. Decoder: `labels` run parallel to `inputIds`, -100 where
 * nothing is predicted.
 */
export interface Batch {
  inputIds: number[][];
  labels: number[][];
  /** Number of the first record: with it, dropout belongs to the record. */
  firstKey: number;
}

export interface BatchOptions {
  family: Family;
  /** Records. */
  size: number;
  /** Every record as long as the mean, and every target: no padding at all. */
  equalLengths: boolean;
  /** Of a record's input. */
  tokens: Bounds;
}

/** Inclusive. */
export type Bounds = readonly [number, number];
export const inputTokens: Bounds = [40, 200];
/** T5's targets, and the last tokens of a decoder's record that are its answer; the end token included. */
const answerTokens: Bounds = [4, 12];
/** Below the size of every vocabulary measured. */
const vocabulary = 32000;
const endToken = 1;
/** Padding and the end token come before the others. */
const firstToken = 2;

/** Uses of one seed that shall not be the same numbers. */
const Use = { length: 1, answerLength: 2, token: 3, answer: 4, prompt: 5, instruction: 6 } as const;

/** A batch for an optimizer step; no two numbers give the same records. */
export function trainingBatch(
  number: number,
  { family, size, equalLengths, tokens: bounds }: BatchOptions,
): Batch {
  const firstKey = number * size;
  const batch: Batch = { inputIds: [], labels: [], firstKey };
  for (let key = firstKey; key < firstKey + size; key++) {
    const length = lengthOf(bounds, equalLengths, Use.length, key);
    const answerLength = lengthOf(answerTokens, equalLengths, Use.answerLength, key);
    const answer = [...tokens(answerLength - 1, Use.answer, key), endToken];
    if (family === "t5") {
      batch.inputIds.push(tokens(length, Use.token, key));
      batch.labels.push(answer);
    } else {
      const prompt = tokens(length - answerLength, Use.token, key);
      batch.inputIds.push([...prompt, ...answer]);
      batch.labels.push([...prompt.map(() => -100), ...answer]);
    }
  }
  return batch;
}

/** Tokens that a step on the batch computes where nothing is padded: inputs, and T5's targets. */
export function realTokens({ inputIds, labels }: Batch, family: Family): number {
  const count = (rows: readonly number[][]): number => rows.reduce((sum, row) => sum + row.length, 0);
  return count(inputIds) + (family === "t5" ? count(labels) : 0);
}

/** Prompts of records that are to be classified: no longer for the `sharedTokens` that all begin with, as a task's instruction. */
export function evaluationPrompts(
  count: number,
  {
    equalLengths,
    tokens: bounds,
    sharedTokens,
  }: Pick<BatchOptions, "equalLengths" | "tokens"> & { sharedTokens: number },
): number[][] {
  const instruction = tokens(sharedTokens, Use.instruction, 0);
  return Array.from({ length: count }, (_, record) => {
    const length = lengthOf(bounds, equalLengths, Use.prompt, record);
    return [...instruction, ...tokens(length, Use.prompt, record).slice(sharedTokens)];
  });
}

function lengthOf([least, most]: Bounds, equal: boolean, use: number, key: number): number {
  return equal ? Math.floor((least + most) / 2) : least + (hash(use, key) % (most - least + 1));
}

function tokens(count: number, use: number, key: number): number[] {
  return Array.from(
    { length: count },
    (_, position) => firstToken + (hash(use, key, position) % (vocabulary - firstToken)),
  );
}

/** What a classification's options look like as tokens: one to three and the end token. */
export function classLabels(): number[][] {
  return [1, 2, 3, 2].map((length, label) => [...tokens(length, Use.answer, label), endToken]);
}
