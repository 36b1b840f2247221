import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { readJson, replaceFile, type RunFolder } from "./run-folder.js";

/** A task's answers at one evaluation: every different text once, and for every test record which of them it got. */
interface PredictionsFile {
  answers: string[];
  chosen: number[];
}

/**
 * Keeps the answers to a task's test records. Each evaluation has a file of its own, so that one measured again after an
 * interruption leaves what was there.
 * @param after position of the last task learned; -1: the untrained model
 */
export async function writePredictions(
  folder: RunFolder,
  after: { index: number; name: string | null },
  task: { index: number; name: string },
  predictions: readonly string[],
): Promise<void> {
  const answers = [...new Set(predictions)];
  const numbers = new Map(answers.map((answer, i) => [answer, i]));
  const content: PredictionsFile = { answers, chosen: predictions.map((answer) => numbers.get(answer)!) };
  const file = folder.predictions(after, task);
  await mkdir(dirname(file), { recursive: true });
  await replaceFile(file, `${JSON.stringify(content)}\n`);
}

/** Reads the answers back, one a test record. */
export async function readPredictions(file: string): Promise<string[]> {
  const { answers, chosen } = await readJson<PredictionsFile>(file);
  return chosen.map((number) => answers[number]!);
}
