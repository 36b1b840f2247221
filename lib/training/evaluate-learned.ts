import { evaluateTask, type Evaluation } from "../evaluation/evaluate.js";
import type { TrainedModel } from "../models/trained-model.js";
import type { AbortFlag } from "../native/contract.js";
import type { LearnedTask } from "./learned-task.js";
import type { LearnerOptions } from "./options.js";

export interface EvaluateLearnedOptions {
  config: Pick<LearnerOptions, "baseType" | "evaluateBy" | "metric" | "maxNewTokens" | "evaluationTokens">;
  /** Labels to score, where answers are scored. */
  candidates: readonly string[];
  abort?: AbortFlag;
  onProgress?: (done: number, total: number) => void;
}

/** A task's test records on the model as it stands, as the configuration asks. */
export async function evaluateLearned(
  { model, tokenizer, trainable }: TrainedModel,
  task: Pick<LearnedTask, "test" | "references" | "labels">,
  { config, candidates, abort, onProgress }: EvaluateLearnedOptions,
): Promise<Evaluation> {
  const common = {
    metric: config.metric,
    batchTokens: config.evaluationTokens,
    ...(abort ? { abort } : {}),
    ...(onProgress ? { onProgress } : {}),
  };
  // Merged weights give the same answers without the adapter's own products; rounded to 16 bits they would not.
  const merge = trainable.kind === "lora" && config.baseType === "float32";
  if (merge) model.mergeAdapter();
  try {
    return await evaluateTask(
      model,
      tokenizer,
      task.test,
      task.references,
      config.evaluateBy === "generate"
        ? { by: "generate", maxNewTokens: config.maxNewTokens, ...common }
        : { by: "score", candidates, ownLabels: task.labels, ...common },
    );
  } finally {
    if (merge) model.unmergeAdapter();
  }
}
