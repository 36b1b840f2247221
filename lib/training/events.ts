import type { Merge } from "../methods/run.js";

/** What a learner tells while it works; also the lines of metrics.jsonl (but for progress). */
export type LearnerEvent =
  /** Only told, never logged: something odd that did no harm. */
  | { event: "warning"; message: string }
  | {
      event: "task-start";
      task: string;
      index: number;
      records: number;
      cutSources: number;
      cutTargets: number;
    }
  | {
      event: "step";
      task: string;
      loop: number;
      step: number;
      loss: number | null;
      gradNorm: number | null;
      /** Of methods that add one to the loss. */
      penalty?: number | null;
      learningRate: number;
      applied: boolean;
    }
  | {
      event: "cycle";
      task: string;
      cycle: number;
      fused: boolean;
      onlyIn?: number;
      onlyOut?: number;
      both?: number;
      neither?: number;
      thresholdIn?: (number | null)[];
      thresholdOut?: (number | null)[];
      /** Root mean square of the two loops' importance, where the method measures it; null where nothing of it is finite. */
      importanceIn?: number | null;
      importanceOut?: number | null;
      /** Of methods that merge task vectors with one weight each. */
      merge?: Merge;
    }
  /** Some cycles by tensor, in the order of layout.json. */
  | {
      event: "tensors";
      task: string;
      cycle: number;
      /** Elements in only the inner mask, only the outer one, both; absent where the method made no masks. */
      onlyIn?: number[];
      onlyOut?: number[];
      both?: number[];
      /** Mean importance of both loops. */
      importanceIn: (number | null)[];
      importanceOut: (number | null)[];
    }
  | {
      event: "evaluation";
      /** The last task learned, or null for the untrained model. */
      after: string | null;
      task: string;
      accuracy: number;
      ownLabelAccuracy?: number;
      correct: number;
      total: number;
    }
  | { event: "task-end"; task: string; index: number; steps: number; skipped: number; tokens: number }
  /** Only told, never logged. */
  | {
      event: "progress";
      task: string;
      stage: "train" | "evaluate";
      label: string;
      done: number;
      total: number;
      /** Mean loss of the last steps. */
      loss?: number;
    };

/** JSON has no NaN or infinity. */
export const finiteOrNull = (value: number): number | null => (Number.isFinite(value) ? value : null);
