import { createReadStream, existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { RkifError } from "../../errors.js";
import type { LearnerEvent } from "../../training/events.js";

type Logged<Name extends LearnerEvent["event"]> = Extract<LearnerEvent, { event: Name }>;

/** A step of one loop: the number of all steps before it in the run, and its loss. */
export interface LoggedLoss {
  at: number;
  loss: number | null;
}

/** One task's lines of metrics.jsonl. Steps are counted from the beginning of the run, over all loops. */
export interface LoggedTask {
  task: string;
  index: number;
  /** Steps of the run before the task, and with it. */
  from: number;
  to: number;
  skipped: number;
  tokens: number | null;
  /** By number of the loop. */
  losses: Map<number, LoggedLoss[]>;
  cycles: ({ at: number } & Logged<"cycle">)[];
  tensors: Logged<"tensors">[];
}

/**
 * Reads a run's metrics.jsonl, also while it grows: a last line without an end is left out.
 * @throws {RkifError} RUN_INVALID naming the line that is not JSON.
 */
export async function readMetricsLog(file: string): Promise<LoggedTask[]> {
  const tasks: LoggedTask[] = [];
  let steps = 0;
  for await (const event of events(file)) {
    if (event.event === "task-start") tasks.push(newTask(event, steps));
    const task = tasks.at(-1);
    if (task === undefined) continue;
    if (event.event === "step") {
      const losses = task.losses.get(event.loop) ?? [];
      task.losses.set(event.loop, losses);
      losses.push({ at: steps, loss: event.loss });
      if (!event.applied) task.skipped++;
      task.to = ++steps;
    } else if (event.event === "cycle") task.cycles.push({ at: steps, ...event });
    else if (event.event === "tensors") task.tensors.push(event);
    // Runs of versions before counted no tokens.
    else if (event.event === "task-end") task.tokens = event.tokens ?? null;
  }
  return tasks;
}

function newTask({ task, index }: Logged<"task-start">, from: number): LoggedTask {
  return {
    task,
    index,
    from,
    to: from,
    skipped: 0,
    tokens: null,
    losses: new Map(),
    cycles: [],
    tensors: [],
  };
}

async function* events(file: string): AsyncGenerator<LearnerEvent> {
  if (!existsSync(file)) return;
  let number = 0;
  let broken: RkifError | undefined;
  for await (const line of createInterface({ input: createReadStream(file, "utf8"), crlfDelay: Infinity })) {
    // Only the last line may be broken: a run that goes on is about to write the rest of it.
    if (broken) throw broken;
    number++;
    try {
      yield JSON.parse(line) as LearnerEvent;
    } catch (cause) {
      broken = new RkifError("RUN_INVALID", `${file}, line ${number}: is not JSON: ${(cause as Error).message}`, { cause }); // prettier-ignore
    }
  }
}
