import { countLabelTokens } from "../data/pack.js";
import type { StepRequest, StepResult } from "../methods/run.js";
import { createStepReports } from "../models/kernels.js";
import type { StepReports, StepSlot, Vector } from "../native/contract.js";

/** Steps that a GPU may have before it. Cycles are shorter as a rule: their end is where results are read. */
const mostOnGpu = 32;

interface PendingStep {
  request: StepRequest;
  penalty?: number;
}

/** A step whose result the device has. */
export interface FinishedStep {
  request: StepRequest;
  result: StepResult;
  /** Updates of the step's optimizer so far. */
  updates: number;
}

/** Steps under way, whose results are read from the device together: a GPU waits for nobody between them. */
export class PendingSteps {
  readonly #reports: StepReports;
  readonly #most: number;
  #steps: PendingStep[] = [];

  /**
   * @param like a vector on the device that the steps run on
   * @param most steps until results are read. Default: on the CPU, which has them at once, 1; on a GPU {@link mostOnGpu}
   */
  constructor(like: Vector, most?: number) {
    this.#reports = createStepReports(most ?? mostOnGpu, like);
    this.#most = most ?? (this.#reports.device === "cpu" ? 1 : mostOnGpu);
  }

  get full(): boolean {
    return this.#steps.length === this.#most;
  }

  /** Where the next step's report goes. */
  get slot(): StepSlot {
    return { reports: this.#reports, index: this.#steps.length };
  }

  /** The slot of the optimizer's last step, where that is among these. */
  lastOf(optimizer: string): number | undefined {
    const index = this.#steps.findLastIndex(({ request }) => request.optimizer.name === optimizer);
    return index < 0 ? undefined : index;
  }

  /** A step whose update has been asked for. */
  add(step: PendingStep): void {
    this.#steps.push(step);
  }

  /** All steps in their order; waits for the device. */
  async take(): Promise<FinishedStep[]> {
    const steps = this.#steps;
    if (steps.length === 0) return [];
    this.#steps = [];
    const reports = await this.#reports.take(steps.length);
    return steps.map(({ request, penalty }, i) => {
      const { lossSum, gradNorm, applied, updates } = reports[i]!;
      const result = { loss: lossSum / countLabelTokens(request.batch), gradNorm, applied };
      return { request, result: penalty === undefined ? result : { ...result, penalty }, updates };
    });
  }

  dispose(): void {
    this.#reports.dispose();
  }
}
