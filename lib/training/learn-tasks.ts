import { selectMemory } from "../data/memory.js";
import type { EncodedRecord } from "../data/formats/record-format.js";
import type { TaskData } from "../data/tasks.js";
import { RkifError, isAborted } from "../errors.js";
import { saveTrained } from "../models/trained-model.js";
import type { AbortFlag } from "../native/contract.js";
import { findMethod, methodOptions } from "./config.js";
import { readKeptTask, withMemory, writeMemory, type KeptTask, type LearnedTask } from "./learned-task.js";
import { MatrixFiller } from "./matrix-filler.js";
import { openTaskRun } from "./open-task-run.js";
import type { OpenRun } from "./open-run.js";
import { replaceFolder } from "./run-folder.js";
import type { CurrentTask } from "./run-store.js";
import { takeUp } from "./take-up.js";
import type { TaskRun } from "./task-run.js";
import { newTaskCounters } from "./task-state.js";
import { tokenizeAhead } from "./tokenize-ahead.js";

/**
 * Learns tasks of a run and fills in the accuracy matrix, or goes on with those that were interrupted. Whatever ends it, the run stands
 * where it can be gone on with.
 * @param tasks one, or all that are learned together
 * @param next the one that comes after them: tokenized while they train
 * @throws {RkifError} ABORTED, NON_FINITE, RUN_CONFLICT where they cannot be learned now.
 */
export async function learnTasks(
  run: OpenRun,
  tasks: readonly TaskData[],
  abort: AbortFlag,
  next?: TaskData,
): Promise<void> {
  const learning = new TaskLearning(run, tasks, abort, next);
  try {
    await learning.learn();
  } catch (error) {
    // What was saved last may be many steps old. Other errors may have struck in the middle of a step: there, the run goes back to
    // that. Restoring also makes the task's vectors ready for another call.
    learning.stopAhead();
    try {
      if (stopsBetweenSteps(error) && run.store.counters.current !== null) await learning.save();
    } finally {
      await run.store.restore();
    }
    throw isAborted(error) ? stopped(error) : error;
  } finally {
    run.store.clock();
    learning.endTraining();
    await learning.ahead;
  }
}

/** The stages of learning, which `counters.current.stage` names: a saved run begins again with the one it was in. */
class TaskLearning {
  readonly #run: OpenRun;
  readonly #filler: MatrixFiller;
  readonly #tasks: readonly TaskData[];
  /** Tasks learned before. */
  readonly #index: number;
  readonly #abort: AbortFlag;
  readonly #next: TaskData | undefined;
  /** The next task's tokenization, once it has begun. */
  ahead: Promise<void> | undefined;
  #aheadStopped = false;
  #training: TaskRun | undefined;
  #stepsSinceSave = 0;

  constructor(run: OpenRun, tasks: readonly TaskData[], abort: AbortFlag, next: TaskData | undefined) {
    this.#run = run;
    this.#filler = new MatrixFiller(run.store, run.loaded, run.format, run.config);
    this.#tasks = tasks;
    this.#index = run.learned.length;
    this.#abort = abort;
    this.#next = next;
  }

  async learn(): Promise<void> {
    const { store, config, format } = this.#run;
    const current = await takeUp(store, this.#tasks, this.#index, config);
    const tasks = await this.#readTasks();
    if (current.stage !== "after") {
      const encoded = await format.encode(this.#tasks.flatMap(({ train }) => train));
      if (current.stage === "new") {
        const { cutSources, cutTargets, records } = encoded;
        const counts = { records: records.length, cutSources, cutTargets };
        await store.log({ event: "task-start", task: current.name, index: this.#index, ...counts });
        current.stage = "before";
      }
      if (current.stage === "before") {
        store.clock("evaluateSeconds");
        await this.#evaluateBefore(tasks);
        current.stage = "train";
      }
      store.clock("trainSeconds");
      if (this.#next && config.tokenCache !== null)
        this.ahead = tokenizeAhead(this.#run, this.#next, this.#aheadAbort());
      await this.#train(encoded.records, tasks, current);
      await this.#keep(current);
    }
    store.clock("evaluateSeconds");
    await this.#evaluateAfter(tasks);
  }

  /** Nobody waits for the next task any more. */
  stopAhead(): void {
    this.#aheadStopped = true;
  }

  #aheadAbort(): Pick<AbortFlag, "aborted"> {
    const stopped = (): boolean => this.#aheadStopped || this.#abort.aborted;
    return {
      get aborted() {
        return stopped();
      },
    };
  }

  /** Saves where the run stands. */
  async save(): Promise<void> {
    this.#stepsSinceSave = 0;
    await this.#training?.settle();
    await this.#run.store.save(this.#training?.vectors);
  }

  /** Frees the vectors of the task's training. */
  endTraining(): void {
    this.#training?.dispose();
    this.#training = undefined;
  }

  async #evaluateBefore(tasks: readonly KeptTask[]): Promise<void> {
    const { config, learned } = this.#run;
    if (!config.measureForwardTransfer) return;
    for (const [k, task] of tasks.entries())
      await this.#filler.before(task, learned, tasks.slice(0, k), this.#abort);
  }

  /** The stages "train" and "consolidate". */
  async #train(
    records: readonly EncodedRecord[],
    tasks: readonly KeptTask[],
    current: CurrentTask,
  ): Promise<void> {
    const { config } = this.#run;
    const method = findMethod(config.method);
    const saved = this.#run.store.takeTaskVectors();
    const training = openTaskRun(this.#run, {
      ...{ index: this.#index, records, tasks, current },
      ...(saved ? { saved } : {}),
      abort: this.#abort,
      beforeStep: () => this.#beforeStep(),
    });
    this.#training = training;
    saved?.dispose();
    const options = methodOptions(config);
    if (current.stage === "train") {
      await method.learn(training, options);
      await training.finish();
      current.stage = "consolidate";
    }
    await method.consolidate?.(training, options);
    await training.settle();
  }

  async #beforeStep(): Promise<void> {
    if (this.#abort.aborted) throw stopped();
    if (++this.#stepsSinceSave > this.#run.config.saveEvery) await this.save();
  }

  /** Keeps what trained tasks leave behind: the adapter, as that of the last, and their memory. The stage is then "after". */
  async #keep(current: CurrentTask): Promise<void> {
    const { config, loaded, store } = this.#run;
    const { folder, counters } = store;
    for (const [k, { name, train }] of this.#tasks.entries()) {
      const task = this.#index + k;
      const chosen = selectMemory(train, { fraction: config.memoryFraction, seed: config.seed, task });
      await writeMemory(folder, task, name, chosen.map((i) => train[i]!)); // prettier-ignore
    }
    const last = folder.adapter(this.#index + this.#tasks.length - 1, this.#tasks.at(-1)!.name);
    for (const target of [last, folder.lastAdapter]) {
      await replaceFolder(target, (part) => saveTrained(loaded, part, { baseName: config.model }));
    }
    const { steps, skipped } = current.training;
    const tokens = this.#training?.tokens ?? 0;
    await store.log({ event: "task-end", task: current.name, index: this.#index, steps, skipped, tokens });
    counters.spent.steps += steps;
    counters.spent.skipped += skipped;
    counters.spent.tokens += tokens;
    current.training = newTaskCounters();
    current.stage = "after";
    this.endTraining();
    await this.save();
  }

  /** Of all tasks learned so far; with it the tasks are learned. */
  async #evaluateAfter(tasks: readonly KeptTask[]): Promise<void> {
    const { learned, store, format } = this.#run;
    await this.#filler.after([...learned, ...tasks], this.#abort);
    const ready: LearnedTask[] = [];
    for (const [k, task] of tasks.entries())
      ready.push(await withMemory(store.folder, this.#index + k, task, format));
    learned.push(...ready);
    store.counters.current = null;
    await this.save();
  }

  async #readTasks(): Promise<KeptTask[]> {
    const { store, config, format } = this.#run;
    const read: KeptTask[] = [];
    for (const [k, { name }] of this.#tasks.entries()) {
      const usesDev = config.selectBestOnDev;
      read.push(await readKeptTask(store.folder, this.#index + k, name, format, { usesDev }));
    }
    return read;
  }
}

/** Whether a run can be saved where this error ended it. */
function stopsBetweenSteps(error: unknown): boolean {
  return isAborted(error) || (error as { code?: string }).code === "NON_FINITE";
}

function stopped(cause?: unknown): RkifError {
  return new RkifError("ABORTED", "stopped; the run is saved and goes on with the same command", { cause });
}
