import type { RecordFormat } from "../data/formats/record-format.js";
import { RkifError } from "../errors.js";
import { evaluateTask, type Evaluation } from "../evaluation/evaluate.js";
import type { TrainedModel } from "../models/trained-model.js";
import type { AbortFlag } from "../native/contract.js";
import type { KeptTask } from "./learned-task.js";
import type { LearnerOptions } from "./options.js";

export interface EvaluateLearnedOptions {
  config: Pick<LearnerOptions, "baseType" | "evaluateBy" | "metric" | "maxNewTokens" | "evaluationTokens">;
  /** Labels to score, where answers are scored. */
  candidates: readonly string[];
  abort?: AbortFlag;
  onProgress?: (done: number, total: number) => void;
}

/**
 * How a family's answers are evaluated: as asked, or as the family has it.
 * @throws {RkifError} CONFIG_INVALID where an encoder is to generate.
 */
export function evaluatedBy(
  asked: LearnerOptions["evaluateBy"],
  family: RecordFormat["family"],
): "generate" | "score" {
  if (asked === "generate" && family === "encoder") {
    throw new RkifError(
      "CONFIG_INVALID",
      'evaluateBy is "generate", but the model is an encoder, which writes no text; expected "score" (the default with an encoder)',
    );
  }
  return asked ?? (family === "encoder" ? "score" : "generate");
}

/** Labels of some tasks, each once: what an answer is chosen from when labels are scored. */
export function labelsOf(tasks: readonly Pick<KeptTask, "labels">[]): string[] {
  return [...new Set(tasks.flatMap(({ labels }) => labels))];
}

/** A task's test records on the model as it stands, as the configuration asks. */
export async function evaluateLearned(
  loaded: Pick<TrainedModel, "model" | "tokenizer" | "trainable" | "endTokenIds">,
  format: RecordFormat,
  task: Pick<KeptTask, "test" | "references" | "labels" | "metric">,
  { config, candidates, abort, onProgress }: EvaluateLearnedOptions,
): Promise<Evaluation> {
  const { model, tokenizer, trainable, endTokenIds } = loaded;
  const common = {
    metric: config.metric ?? task.metric ?? "exact-match",
    batchTokens: config.evaluationTokens,
    ...(abort ? { abort } : {}),
    ...(onProgress ? { onProgress } : {}),
  };
  // Merged weights give the same answers without the adapter's own products; rounded to 16 or 8 bits they would not.
  const merge = trainable.kind === "lora" && model.layout.length > 0 && config.baseType === "float32";
  if (merge) model.mergeAdapter();
  try {
    return await evaluateTask(
      { model, tokenizer, endTokenIds, format },
      task.test,
      task.references,
      evaluatedBy(config.evaluateBy, format.family) === "generate"
        ? { by: "generate", maxNewTokens: config.maxNewTokens, ...common }
        : { by: "score", candidates, ownLabels: task.labels, ...common },
    );
  } finally {
    if (merge) model.unmergeAdapter();
  }
}
