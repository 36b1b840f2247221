import type { CycleReport, StepRequest, StepResult } from "../methods/run.js";
import type { Mask } from "../native/contract.js";
import { finiteOrNull } from "./events.js";
import type { RunStore } from "./run-store.js";

/** What is written down while one task trains. Nothing in it depends on where the run was interrupted. */
export class TaskLog {
  readonly #store: RunStore;
  readonly #task: string;
  readonly #plannedSteps: number;
  #smoothedLoss: number | undefined;

  /** @param plannedSteps steps on the task's own records, for the progress */
  constructor(store: RunStore, task: string, plannedSteps: number) {
    this.#store = store;
    this.#task = task;
    this.#plannedSteps = plannedSteps;
  }

  /** After every optimizer step. */
  async step(
    { loop, step, learningRate }: StepRequest,
    { loss, gradNorm, applied }: StepResult,
  ): Promise<void> {
    const task = this.#task;
    const measured = { loss: finiteOrNull(loss), gradNorm: finiteOrNull(gradNorm) };
    await this.#store.log({ event: "step", task, loop, step, ...measured, learningRate, applied });
    if (Number.isFinite(loss)) {
      this.#smoothedLoss = this.#smoothedLoss === undefined ? loss : 0.9 * this.#smoothedLoss + 0.1 * loss;
    }
    if (loop !== 0) return;
    const [done, total] = [step + 1, Math.max(step + 1, this.#plannedSteps)];
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
  async cycle({
    cycle,
    fused,
    onlyIn = 0,
    onlyOut = 0,
    both = 0,
    neither = 0,
    masks,
  }: CycleReport): Promise<void> {
    const selected = masks
      ? {
          ...{ onlyIn, onlyOut, both, neither },
          thresholdIn: await thresholds(masks.in),
          thresholdOut: await thresholds(masks.out),
        }
      : {};
    await this.#store.log({ event: "cycle", task: this.#task, cycle, fused, ...selected });
  }
}

async function thresholds(mask: Mask): Promise<(number | null)[]> {
  return Array.from(await mask.thresholds(), finiteOrNull);
}
