import { createHash } from "node:crypto";
import type { TaskData } from "../data/tasks.js";
import { RkifError } from "../errors.js";
import { findMethod, type ResolvedConfig } from "./config.js";
import { writeTask } from "./learned-task.js";
import { namesOf, type CurrentTask, type RunStore } from "./run-store.js";
import { newTaskCounters } from "./task-state.js";

/**
 * Takes up new tasks, or those that were interrupted.
 * @param tasks one, or all that are learned together
 * @param index tasks learned before
 * @throws {RkifError} RUN_CONFLICT where they cannot be learned now, DATA_INVALID where one has no records.
 */
export async function takeUp(
  store: RunStore,
  tasks: readonly TaskData[],
  index: number,
  { method, devRecords }: Pick<ResolvedConfig, "method" | "devRecords">,
): Promise<CurrentTask> {
  const { folder, counters } = store;
  const conflict = (what: string): RkifError => new RkifError("RUN_CONFLICT", `${folder.path}: ${what}`);
  const names = tasks.map(({ name }) => name);
  const digest = createHash("sha256")
    .update(JSON.stringify(tasks.flatMap(({ train }) => train)))
    .digest("hex");
  const { current, matrix } = counters;
  if (current) {
    const same = JSON.stringify(namesOf(current)) === JSON.stringify(names);
    if (same && current.digest === digest) return current;
    const found = same
      ? "its training records have changed since"
      : `found ${names.length === 1 ? `task "${names[0]}"` : names.join(", ")}`;
    throw conflict(`task "${current.name}" was interrupted and comes first; ${found}`);
  }
  if (findMethod(method).learnsTogether && index > 0) {
    throw conflict(
      `method ${method} learns all tasks at once and has learned ${matrix.tasks.join(", ")}; ` +
        `${names.join(", ")} cannot be added: begin another run with all of them`,
    );
  }
  for (const { name, ...sets } of tasks) {
    if (matrix.tasks.includes(name)) throw conflict(`task "${name}" has been learned already`);
    for (const set of ["train", "test"] as const) {
      if (sets[set].length > 0) continue;
      throw new RkifError("DATA_INVALID", `task "${name}" has no ${set} records; expected at least one`);
    }
  }
  for (const [k, task] of tasks.entries()) await writeTask(folder, index + k, task, devRecords);
  const started: CurrentTask = {
    name: names.length === 1 ? names[0]! : `${names.length} tasks together`,
    tasks: names.length === 1 ? null : names,
    digest,
    stage: "new",
    training: newTaskCounters(),
  };
  matrix.tasks.push(...names);
  counters.current = started;
  return started;
}
