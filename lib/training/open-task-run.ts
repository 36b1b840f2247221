import type { EncodedRecord } from "../data/formats/record-format.js";
import { findMethod } from "./config.js";
import type { KeptTask } from "./learned-task.js";
import { TaskLog } from "./logging.js";
import type { OpenRun } from "./open-run.js";
import type { CurrentTask } from "./run-store.js";
import { TaskRun, type TaskRunParts } from "./task-run.js";
import { TaskSets } from "./task-sets.js";

export interface TaskToTrain extends Pick<TaskRunParts, "saved" | "abort" | "beforeStep"> {
  /** Tasks learned before. */
  index: number;
  /** Encoded training records, of all tasks that are learned together. */
  records: readonly EncodedRecord[];
  tasks: readonly Pick<KeptTask, "dev">[];
  current: CurrentTask;
}

/** The training of a task as the run is configured: on its records and the memory of the earlier tasks, logged with the run. */
export function openTaskRun(
  { config, loaded, format, store, learned }: OpenRun,
  { index, records, tasks, current, ...parts }: TaskToTrain,
): TaskRun {
  const { seed, batchSize, epochs, groupByLength, logMasksEvery, selectBestOnDev } = config;
  const method = findMethod(config.method);
  const memory = method.usesMemory ? learned.flatMap((earlier) => earlier.memory) : [];
  const sets = new TaskSets(records, memory, { batchSize, epochs, groupByLength, seed, task: index });
  const plannedSteps = sets.taskBatches({ loop: 0, withMemory: false }).steps;
  const { layout } = loaded.model;
  const log = new TaskLog(store, { task: current.name, plannedSteps, layout, logMasksEvery });
  // Where a task is evaluated with its own adapter, the earlier ones' records say nothing of it.
  const judged = method.evaluatesWith === "own-adapter" ? tasks : [...learned, ...tasks];
  return new TaskRun({
    ...parts,
    task: { index, name: current.name },
    options: config,
    model: loaded.model,
    pack: (batch) => format.pack(batch),
    taskRecords: sets.records,
    memorySize: sets.memory.length,
    taskBatches: (options) => sets.taskBatches(options),
    memoryBatches: (options) => sets.memoryBatches(options),
    devRecords: selectBestOnDev ? judged.flatMap(({ dev }) => dev) : [],
    counters: current.training,
    kept: store.kept,
    onStep: (request, result) => log.step(request, result),
    onCycle: (report) => log.cycle(report),
  });
}
