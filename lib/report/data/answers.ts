import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { normaliseAnswer } from "../../data/normalise-answer.js";
import { readRecords, type TaskRecord } from "../../data/records.js";
import { rougeL } from "../../evaluation/rouge-l.js";
import { readPredictions } from "../../training/predictions.js";
import { readJson, type RunFolder } from "../../training/run-folder.js";

/** An answer as it was when its task had been learned, and as it is now. */
export interface AnswerExample {
  prompt: string;
  reference: string;
  inTurn: string;
  now: string;
}

/** What became of a task's answers between its own turn and the last task learned, in test records. */
export interface TaskAnswers {
  task: string;
  records: number;
  /** Right in turn and now; right in turn only; right now only. Null for tasks learned together, which had no turn. */
  kept: number | null;
  lost: number | null;
  gained: number | null;
  /** A few of them, at most {@link examplesKept} of each. */
  examples: { lost: AnswerExample[]; kept: AnswerExample[] };
  /** Where the answers now belong. */
  belongs: AnswerOrigins;
}

/** Test records by where their answer belongs. The counts make up all records. */
export interface AnswerOrigins {
  right: number;
  /** A wrong one of the task's own labels. */
  own: number;
  /** By task learned: a label of that task and not of this one; where several tasks have it, each gets its part. */
  others: number[];
  /** No task's label. */
  none: number;
}

/** What is read of every task, in the order learned. */
interface TestedTask {
  name: string;
  labels: ReadonlySet<string>;
  records: TaskRecord[];
  isRight: (answer: string, reference: string) => boolean;
}

export const examplesKept = 4;
/** A generated answer measured by Rouge-L is seldom equal to the reference: it counts as right from here on. */
export const rightFromRougeL = 0.5;

/**
 * Compares the answers after the last task learned with those after each one's own turn. A task whose answers were not kept, as
 * earlier versions did, is left out.
 */
export async function readAnswers(
  folder: RunFolder,
  learned: readonly string[],
  metric: unknown,
): Promise<TaskAnswers[]> {
  const tasks = await Promise.all(learned.map((name, index) => readTested(folder, index, name, metric)));
  const last = tasks.length - 1;
  const found: TaskAnswers[] = [];
  for (const [index, task] of tasks.entries()) {
    if (task === null) continue;
    const after = (i: number): string =>
      folder.predictions({ index: i, name: learned[i]! }, { index, name: task.name });
    if (!existsSync(after(last))) continue;
    const answers = {
      inTurn: existsSync(after(index)) ? await readPredictions(after(index)) : null,
      now: await readPredictions(after(last)),
    };
    const labels = tasks.map((each) => each?.labels ?? new Set<string>());
    found.push(compare(task, index, labels, answers));
  }
  return found;
}

async function readTested(
  folder: RunFolder,
  index: number,
  name: string,
  metric: unknown,
): Promise<TestedTask | null> {
  const path = folder.task(index, name);
  const [taskFile, testFile] = [join(path, "task.json"), join(path, "test.jsonl")];
  const size = (await stat(testFile).catch(() => undefined))?.size ?? 0;
  if (size === 0 || !existsSync(taskFile)) return null;
  const { labels, metric: own } = await readJson<{ labels: string[]; metric?: string }>(taskFile);
  const byRougeL = (metric ?? own) === "rouge-l";
  return {
    name,
    labels: new Set(labels.map(normaliseAnswer)),
    records: await readRecords(testFile),
    isRight: (answer, reference) =>
      byRougeL
        ? rougeL(answer, reference).fmeasure >= rightFromRougeL
        : normaliseAnswer(answer) === normaliseAnswer(reference),
  };
}

function compare(
  { name, records, isRight }: TestedTask,
  index: number,
  labels: readonly ReadonlySet<string>[],
  { inTurn, now }: { inTurn: readonly string[] | null; now: readonly string[] },
): TaskAnswers {
  const counts = { kept: 0, lost: 0, gained: 0 };
  const unknown = { kept: null, lost: null, gained: null };
  const examples: TaskAnswers["examples"] = { lost: [], kept: [] };
  const belongs: AnswerOrigins = { right: 0, own: 0, others: labels.map(() => 0), none: 0 };
  for (const [i, record] of records.entries()) {
    const answers = { inTurn: inTurn?.[i] ?? "", now: now[i] ?? "" };
    const [was, is] = [isRight(answers.inTurn, record.output), isRight(answers.now, record.output)];
    const fate = was ? (is ? "kept" : "lost") : is ? "gained" : null;
    if (inTurn !== null && fate !== null) counts[fate]++;
    if (inTurn !== null && (fate === "kept" || fate === "lost") && examples[fate].length < examplesKept) {
      const prompt = `${record.instruction ?? ""}${record.input}`;
      examples[fate].push({ prompt, reference: record.output, ...answers });
    }
    if (is) belongs.right++;
    else addOrigin(belongs, normaliseAnswer(answers.now), index, labels);
  }
  return { task: name, records: records.length, ...(inTurn === null ? unknown : counts), examples, belongs };
}

function addOrigin(
  belongs: AnswerOrigins,
  answer: string,
  own: number,
  labels: readonly ReadonlySet<string>[],
): void {
  if (labels[own]!.has(answer)) belongs.own++;
  else {
    const owners = [...labels.keys()].filter((task) => labels[task]!.has(answer));
    for (const task of owners) belongs.others[task]! += 1 / owners.length;
    if (owners.length === 0) belongs.none++;
  }
}
