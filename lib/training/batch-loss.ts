import { countLabelTokens, pack, splitIntoMicroBatches } from "../data/pack.js";
import type { TrainingRecord } from "../methods/run.js";
import type {
  AbortFlag,
  AccumulateOptions,
  DropoutCounters,
  Model,
  PackedBatch,
  StepSlot,
  Vector,
} from "../native/contract.js";

export interface BatchLossOptions {
  /** Records that the model gets at once; null: a whole batch. The results are the same up to rounding. */
  microBatchSize: number | null;
  /** Lays records end to end as the model takes them. Default: as T5 and decoders do. */
  pack?: (records: readonly TrainingRecord[]) => PackedBatch;
  abort?: AbortFlag;
}

export interface GradientOptions {
  /** What dropout is a function of; null: none. */
  dropout: DropoutCounters | null;
  /** Multiplies the loss before the backward pass, not the loss returned. Default 1. */
  lossScale?: number;
  /** Replaced by every output's sum of absolute values, see {@link StepRequest}. */
  outputSums?: Vector;
}

/** A model's loss on batches: mean cross entropy over their label tokens. */
export class BatchLoss {
  readonly #model: Pick<Model, "accumulate" | "gradients" | "loss">;
  readonly #options: BatchLossOptions;

  constructor(model: Pick<Model, "accumulate" | "gradients" | "loss">, options: BatchLossOptions) {
    this.#model = model;
    this.#options = options;
  }

  /**
   * Without dropout and gradient.
   * @param atOnce records that the model gets at once where the options do not say; default: all
   */
  async of(records: readonly TrainingRecord[], atOnce: number = records.length): Promise<number> {
    const { microBatchSize, abort } = this.#options;
    let sum = 0;
    for (const part of splitIntoMicroBatches(records, microBatchSize ?? atOnce)) {
      for (const loss of await this.#model.loss(this.#pack(part), abort)) sum += loss;
    }
    return sum / countLabelTokens(records);
  }

  /** Its gradient replaces what the model's `gradients` held. */
  async withGradient(batch: readonly TrainingRecord[], options: GradientOptions): Promise<number> {
    let sum = 0;
    for (const [part, given] of this.#parts(batch, options)) {
      sum += (await this.#model.accumulate(this.#pack(part), given)).lossSum;
    }
    return sum / countLabelTokens(batch);
  }

  /** The gradient alone: the losses of the batch's label tokens are added to a step's report, and nothing waits for the device. */
  async gradient(batch: readonly TrainingRecord[], options: GradientOptions, into: StepSlot): Promise<void> {
    for (const [part, given] of this.#parts(batch, options)) {
      await this.#model.accumulate(this.#pack(part), { ...given, into });
    }
  }

  /** Clears what is added to, and splits a batch into what the model gets at once. */
  #parts(
    batch: readonly TrainingRecord[],
    { dropout, lossScale = 1, outputSums }: GradientOptions,
  ): (readonly [readonly TrainingRecord[], AccumulateOptions])[] {
    const { microBatchSize, abort } = this.#options;
    this.#model.gradients.fill(0);
    outputSums?.fill(0);
    const options = {
      ...{ divisor: countLabelTokens(batch), lossScale, dropout },
      ...(outputSums ? { outputSums } : {}),
      ...(abort ? { abort } : {}),
    };
    return splitIntoMicroBatches(batch, microBatchSize ?? batch.length).map(
      (part) => [part, options] as const,
    );
  }

  #pack(records: readonly TrainingRecord[]): PackedBatch {
    return (this.#options.pack ?? pack)(records);
  }
}
