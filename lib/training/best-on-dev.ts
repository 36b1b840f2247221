import type { TrainingRecord } from "../methods/run.js";
import type { Vector } from "../native/contract.js";
import type { BatchLoss } from "./batch-loss.js";
import type { TaskCounters } from "./task-state.js";

/** Records that the model gets at once where micro-batches have no size. */
const recordsAtOnce = 25;

export interface BestOnDevParts {
  records: readonly TrainingRecord[];
  /** Steps between two looks at dev, at least. */
  every: number;
  loss: BatchLoss;
  parameters: Vector;
  /** Where the best are kept; asked for when there are any. */
  best: () => Vector;
  counters: Pick<TaskCounters, "steps" | "bestDevLoss" | "devLookedAt">;
}

/** Keeps a task's parameters with the least loss on dev records, of equal ones the first. */
export class BestOnDev {
  readonly #parts: BestOnDevParts;

  constructor(parts: BestOnDevParts) {
    this.#parts = parts;
  }

  /** Before a step: keeps the parameters if it is time to look at dev, and they are the best so far. */
  async lookIfDue(): Promise<void> {
    const { counters, every } = this.#parts;
    if (counters.steps - counters.devLookedAt >= every) await this.#look();
  }

  /** After the last step: the best become the parameters. */
  async finish(): Promise<void> {
    await this.#look();
    const { counters, parameters, best } = this.#parts;
    if (counters.bestDevLoss !== null) parameters.copyFrom(best());
  }

  async #look(): Promise<void> {
    const { records, counters, parameters, best } = this.#parts;
    const loss = await this.#parts.loss.of(records, recordsAtOnce);
    if (Number.isFinite(loss) && (counters.bestDevLoss === null || loss < counters.bestDevLoss)) {
      counters.bestDevLoss = loss;
      best().copyFrom(parameters);
    }
    counters.devLookedAt = counters.steps;
  }
}
