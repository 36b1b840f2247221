import type { CycleReport, StepRequest, StepResult } from "../methods/run.js";
import type { Mask, TensorLayout } from "../native/contract.js";
import { finiteOrNull } from "./events.js";
import type { RunStore } from "./run-store.js";
import { maskOverlap, rootMeanSquare, tensorMeans } from "./tensor-statistics.js";

export interface TaskLogOptions {
  task: string;
  /** Steps on the task's own records, for the progress. */
  plannedSteps: number;
  layout: readonly TensorLayout[];
  /** Cycles between two logs by tensor; null: none. */
  logMasksEvery: number | null;
}

/** What is written down while one task trains. Nothing in it depends on where the run was interrupted. */
export class TaskLog {
  readonly #store: RunStore;
  readonly #options: TaskLogOptions;
  #smoothedLoss: number | undefined;

  constructor(store: RunStore, options: TaskLogOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** After every optimizer step. */
  async step(
    { loop, step, learningRate }: StepRequest,
    { loss, gradNorm, applied, penalty }: StepResult,
  ): Promise<void> {
    const { task, plannedSteps } = this.#options;
    const measured = {
      loss: finiteOrNull(loss),
      gradNorm: finiteOrNull(gradNorm),
      ...(penalty === undefined ? {} : { penalty: finiteOrNull(penalty) }),
    };
    await this.#store.log({ event: "step", task, loop, step, ...measured, learningRate, applied });
    if (Number.isFinite(loss)) {
      this.#smoothedLoss = this.#smoothedLoss === undefined ? loss : 0.9 * this.#smoothedLoss + 0.1 * loss;
    }
    if (loop !== 0) return;
    const [done, total] = [step + 1, Math.max(step + 1, plannedSteps)];
    this.#store.tell({
      event: "progress",
      task,
      stage: "train",
      label: `${task}: training`,
      done,
      total,
      ...(this.#smoothedLoss === undefined ? {} : { loss: this.#smoothedLoss }),
    });
  }

  /** After every cycle, while its vectors and masks are there. */
  async cycle(report: CycleReport): Promise<void> {
    const { cycle, fused, onlyIn = 0, onlyOut = 0, both = 0, neither = 0, masks, merge, importance } = report;
    const { task } = this.#options;
    const measured = importance
      ? {
          importanceIn: await rootMeanSquare(importance.in.importance),
          importanceOut: await rootMeanSquare(importance.out.importance),
        }
      : {};
    const selected = masks
      ? {
          ...{ onlyIn, onlyOut, both, neither },
          thresholdIn: await thresholds(masks.in),
          thresholdOut: await thresholds(masks.out),
        }
      : {};
    const merged = merge ? { merge } : {};
    await this.#store.log({ event: "cycle", task, cycle, fused, ...selected, ...measured, ...merged });
    if (this.#isLoggedByTensor(report)) await this.#byTensor(report);
  }

  #isLoggedByTensor({ cycle, cycles }: CycleReport): boolean {
    const every = this.#options.logMasksEvery;
    return every !== null && (cycle % every === 0 || cycle + 1 === cycles);
  }

  async #byTensor({ cycle, masks, importance }: CycleReport): Promise<void> {
    if (!importance) return;
    const { task, layout } = this.#options;
    const overlap = masks ? await maskOverlap(masks, layout) : {};
    const importanceIn = await tensorMeans(importance.in.importance, layout);
    const importanceOut = await tensorMeans(importance.out.importance, layout);
    await this.#store.log({ event: "tensors", task, cycle, ...overlap, importanceIn, importanceOut });
  }
}

async function thresholds(mask: Mask): Promise<(number | null)[]> {
  return Array.from(await mask.thresholds(), finiteOrNull);
}
